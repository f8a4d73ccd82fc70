# Random numbers that depend on a seed and on nothing else: xoshiro256**, seeded by splitmix64.
from libc.math cimport cos, exp, log, sqrt
from libc.stdint cimport int64_t, uint64_t

ctypedef struct random_t:
    uint64_t[4] state


cdef inline uint64_t rotated(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline void random_seed(random_t *r, uint64_t seed) noexcept nogil:
    cdef uint64_t z
    cdef int i
    for i in range(4):
        seed += <uint64_t>0x9E3779B97F4A7C15
        z = (seed ^ (seed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
        z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
        r.state[i] = z ^ (z >> 31)


cdef inline uint64_t random_bits(random_t *r) noexcept nogil:
    cdef uint64_t found = rotated(r.state[1] * 5, 7) * 9
    cdef uint64_t shifted = r.state[1] << 17
    r.state[2] ^= r.state[0]
    r.state[3] ^= r.state[1]
    r.state[1] ^= r.state[2]
    r.state[0] ^= r.state[3]
    r.state[2] ^= shifted
    r.state[3] = rotated(r.state[3], 45)
    return found


cdef inline double random_unit(random_t *r) noexcept nogil:
    """Return a number that is at least 0 and less than 1."""
    return <double>(random_bits(r) >> 11) * (1.0 / 9007199254740992.0)


cdef inline int64_t random_below(random_t *r, int64_t n) noexcept nogil:
    """Return a whole number that is at least 0 and less than `n`."""
    return <int64_t>(random_unit(r) * <double>n)


cdef inline double random_exponential(random_t *r) noexcept nogil:
    """Return a number of the exponential distribution with mean 1."""
    return -log(1.0 - random_unit(r))


cdef inline double random_normal(random_t *r) noexcept nogil:
    """Return a number of the normal distribution with mean 0 and deviation 1."""
    cdef double radius = sqrt(2.0 * random_exponential(r))
    return radius * cos(6.283185307179586 * random_unit(r))


cdef inline double random_lognormal(random_t *r, double median, double sigma) noexcept nogil:
    return median * exp(sigma * random_normal(r))
