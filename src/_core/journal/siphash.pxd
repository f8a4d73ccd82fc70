# SipHash-2-4 with digests of 16 bytes, and the key 00 01 ... 0f of the test vectors of its authors.
#
# Keys of jobs must not be equal by chance, which 128 bits prevent. They need not resist someone who
# looks for two jobs with one key, as digests of passwords or files must: a program that chooses the
# arguments of jobs can run what it likes. Compilers use this hash for the results of earlier runs
# for the same reason. The key of a small job takes 50 ns; with BLAKE2b it took 230 ns.
from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    typedef struct {
        uint64_t v[4];
        uint8_t block[128];
        size_t used;  /* bytes of the block */
        uint8_t n;  /* bytes so far, modulo 256 */
    } siphash_t;

    #define SIPHASH_ROTATE(x, n) (((x) << (n)) | ((x) >> (64 - (n))))
    #define SIPHASH_ROUND \\
        v0 += v1; v1 = SIPHASH_ROTATE(v1, 13) ^ v0; v0 = SIPHASH_ROTATE(v0, 32); \\
        v2 += v3; v3 = SIPHASH_ROTATE(v3, 16) ^ v2; \\
        v0 += v3; v3 = SIPHASH_ROTATE(v3, 21) ^ v0; \\
        v2 += v1; v1 = SIPHASH_ROTATE(v1, 17) ^ v2; v2 = SIPHASH_ROTATE(v2, 32);
    #define SIPHASH_ADD(word) v3 ^= word; SIPHASH_ROUND SIPHASH_ROUND v0 ^= word;
    #define SIPHASH_LOAD uint64_t v0 = s->v[0], v1 = s->v[1], v2 = s->v[2], v3 = s->v[3];

    static inline void siphash_init(siphash_t *s) {
        const uint64_t k0 = 0x0706050403020100u, k1 = 0x0F0E0D0C0B0A0908u;
        s->v[0] = k0 ^ 0x736F6D6570736575u;
        s->v[1] = k1 ^ 0x646F72616E646F6Du ^ 0xEE;
        s->v[2] = k0 ^ 0x6C7967656E657261u;
        s->v[3] = k1 ^ 0x7465646279746573u;
        s->used = 0;
        s->n = 0;
    }

    static void siphash_words(siphash_t *s, const uint8_t *data, size_t n_words) {
        SIPHASH_LOAD
        for (; n_words; n_words--, data += 8) {
            uint64_t word;
            memcpy(&word, data, 8);
            SIPHASH_ADD(word)
        }
        s->v[0] = v0; s->v[1] = v1; s->v[2] = v2; s->v[3] = v3;
    }

    static void siphash_fill(siphash_t *s, const uint8_t *data, size_t size) {
        size_t n = sizeof s->block - s->used;
        memcpy(s->block + s->used, data, n);
        siphash_words(s, s->block, sizeof s->block / 8);
        data += n;
        size -= n;
        siphash_words(s, data, size / 8);
        s->used = size & 7;
        memcpy(s->block, data + size - s->used, s->used);
    }

    static inline void siphash_update(siphash_t *s, const uint8_t *data, size_t size) {
        s->n += (uint8_t)size;
        if (size < sizeof s->block - s->used) {  /* often of a constant size: no call of memcpy */
            memcpy(s->block + s->used, data, size);
            s->used += size;
        }
        else siphash_fill(s, data, size);
    }

    static inline void siphash_final(siphash_t *s, uint8_t *digest) {
        size_t rest = s->used & 7;
        uint64_t last = 0, out[2];
        siphash_words(s, s->block, s->used / 8);
        memcpy(&last, s->block + s->used - rest, rest);
        last |= (uint64_t)s->n << 56;
        SIPHASH_LOAD
        SIPHASH_ADD(last)
        v2 ^= 0xEE;
        SIPHASH_ROUND SIPHASH_ROUND SIPHASH_ROUND SIPHASH_ROUND
        out[0] = v0 ^ v1 ^ v2 ^ v3;
        v1 ^= 0xDD;
        SIPHASH_ROUND SIPHASH_ROUND SIPHASH_ROUND SIPHASH_ROUND
        out[1] = v0 ^ v1 ^ v2 ^ v3;
        memcpy(digest, out, 16);
    }
    """
    ctypedef struct siphash_t:
        pass

    void siphash_init(siphash_t *s) noexcept nogil
    void siphash_update(siphash_t *s, const uint8_t *data, size_t size) noexcept nogil
    void siphash_final(siphash_t *s, uint8_t *digest) noexcept nogil  # 16 bytes

cdef enum:
    DIGEST_SIZE = 16
