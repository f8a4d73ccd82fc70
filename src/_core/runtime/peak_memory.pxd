# The memory that this process has used.
from libc.stdint cimport uint64_t

cdef extern from "<sys/resource.h>" nogil:
    cdef int RUSAGE_SELF
    cdef struct rusage:
        long ru_maxrss
    int getrusage(int, rusage *)


cdef inline uint64_t largest_resident_kib() noexcept nogil:
    """Return the largest resident memory of this process so far; 0 if it is not known."""
    cdef rusage usage
    return <uint64_t>usage.ru_maxrss if getrusage(RUSAGE_SELF, &usage) == 0 else 0
