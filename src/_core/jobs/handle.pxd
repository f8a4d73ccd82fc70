from libc.stdint cimport int32_t, int64_t

cdef extern from *:
    """
    /* An object of a class that some of ours is the base of, without its __init__. */
    static inline PyObject *bare(PyObject *kind) {
        PyObject *none = PyTuple_New(0);
        PyObject *made = none ? ((PyTypeObject *)kind)->tp_new((PyTypeObject *)kind, none, NULL)
                              : NULL;
        Py_XDECREF(none);
        return made;
    }
    """
    object bare(object kind)

cdef class Kept:
    pass

cdef class Packed(Kept):
    cdef readonly object payload
    cdef readonly list buffers

cdef class Spilled(Kept):
    cdef object store
    cdef int64_t offset
    cdef int64_t size
    cdef tuple sizes

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
