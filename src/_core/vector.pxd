# Growable arrays of C values. Functions return OUT_OF_MEMORY on failure and leave the array
# unchanged.
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc

cdef enum:
    OUT_OF_MEMORY = -1


cdef inline int grow(void **data, int64_t *capacity, int64_t need, size_t size) noexcept nogil:
    """Ensure a capacity of `need` elements of `size` bytes.

    The capacity doubles, so that appending is O(1) on average.
    """
    cdef int64_t wanted = capacity[0]
    cdef void *moved
    if need <= wanted:
        return 0
    if wanted < 16:
        wanted = 16
    while wanted < need:
        wanted *= 2
    moved = realloc(data[0], <size_t>wanted * size)
    if moved == NULL:
        return OUT_OF_MEMORY
    data[0] = moved
    capacity[0] = wanted
    return 0


ctypedef struct ints_t:
    int32_t *data
    int64_t size
    int64_t capacity


cdef inline int ints_push(ints_t *v, int32_t value) noexcept nogil:
    if grow(<void **>&v.data, &v.capacity, v.size + 1, sizeof(int32_t)) < 0:
        return OUT_OF_MEMORY
    v.data[v.size] = value
    v.size += 1
    return 0


cdef inline void ints_free(ints_t *v) noexcept nogil:
    free(v.data)
    v.data = NULL
    v.size = v.capacity = 0


cdef inline int ints_copy(ints_t *v, items, int64_t limit) except -1:
    """Append Python ints from 0 to `limit` - 1 to an array, which is freed on an error."""
    cdef int64_t number
    try:
        for item in items:
            number = item
            if not 0 <= number < limit:
                raise IndexError(f"number {number} does not exist; there are {limit}")
            if ints_push(v, <int32_t>number) < 0:
                raise MemoryError()
    except BaseException:
        ints_free(v)
        raise
    return 0
