from libc.stdint cimport int32_t

cdef class Packed:
    cdef readonly object payload
    cdef readonly list buffers

cdef class Handle:
    cdef readonly object _pool
    cdef int32_t number  # -1: not in the pool yet
    cdef bint calls  # `f` is called itself, and not the class's `execute`
    cdef object f
    cdef object arguments
    cdef object keywords  # None: there are none
    cdef object context
    cdef object deps
    cdef readonly object _outcome
    cdef dict __dict__
    cdef object __weakref__

cdef bint has_outcome(Handle job) noexcept
cdef void forget(Handle job) noexcept
