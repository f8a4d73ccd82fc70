# The report of broken invariants.
from bsbpool._core.vector cimport grow
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc

cdef enum:
    MAX_REPORTED = 50

# A broken invariant: its name, the number of the job or other element, and the two values.
ctypedef struct violation_t:
    const char *invariant
    int64_t element
    int64_t found
    int64_t expected

ctypedef struct report_t:
    violation_t *data
    int64_t size
    int64_t capacity
    bint no_memory


cdef inline void expect(
    report_t *r, const char *invariant, int64_t element, int64_t found, int64_t expected
) noexcept nogil:
    if found == expected or r.size == MAX_REPORTED:
        return
    if grow(<void **>&r.data, &r.capacity, r.size + 1, sizeof(violation_t)) < 0:
        r.no_memory = True
        return
    r.data[r.size] = violation_t(invariant, element, found, expected)
    r.size += 1


cdef inline int32_t *counters(report_t *r, int64_t n) noexcept nogil:
    """Return an array of `n` zeros, which the caller frees."""
    cdef int32_t *data = <int32_t *>calloc(n + 1, sizeof(int32_t))
    r.no_memory = r.no_memory or data == NULL
    return data
