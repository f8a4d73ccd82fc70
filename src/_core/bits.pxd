# Sets of small numbers, one bit for each number that there can be.
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef extern from *:
    int __builtin_ctzll(unsigned long long) nogil

cdef enum:
    BITS_NO_MEMORY = -1
    NO_BIT = -1

ctypedef struct bits_t:
    uint64_t *words
    int64_t n_words


cdef inline int bits_open(bits_t *b, int64_t n) noexcept nogil:
    """Allocate an empty set for the numbers from 0 to `n` - 1."""
    b.n_words = (n + 63) >> 6
    b.words = <uint64_t *>calloc(<size_t>b.n_words, sizeof(uint64_t))
    if b.words == NULL:
        b.n_words = 0
        return BITS_NO_MEMORY
    return 0


cdef inline void bits_free(bits_t *b) noexcept nogil:
    free(b.words)
    memset(b, 0, sizeof(bits_t))


cdef inline bint bits_has(const bits_t *b, int64_t i) noexcept nogil:
    return (b.words[i >> 6] >> (i & 63)) & 1


cdef inline void bits_add(bits_t *b, int64_t i) noexcept nogil:
    b.words[i >> 6] |= <uint64_t>1 << (i & 63)


cdef inline void bits_remove(bits_t *b, int64_t i) noexcept nogil:
    b.words[i >> 6] &= ~(<uint64_t>1 << (i & 63))


cdef inline int64_t bits_next(const bits_t *b, int64_t start) noexcept nogil:
    """Return the smallest number of the set that is at least `start`, or NO_BIT."""
    cdef int64_t word = start >> 6
    cdef uint64_t left
    if word >= b.n_words:
        return NO_BIT
    left = b.words[word] & (~<uint64_t>0 << (start & 63))
    while left == 0:
        word += 1
        if word >= b.n_words:
            return NO_BIT
        left = b.words[word]
    return (word << 6) + __builtin_ctzll(left)
