# BLAKE2b with digests of 16 bytes, as in RFC 7693, without a key.
#
# `hashlib.blake2b(data, digest_size=16)` gives the same digests, but its calls take several times
# as long as the hashing of the arguments of a small job.
from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    typedef struct {
        uint64_t h[8];
        uint64_t n;  /* bytes before those of the block */
        uint8_t block[128];
        size_t used;
    } blake2b_t;

    static const uint64_t blake2b_iv[8] = {
        0x6A09E667F3BCC908u, 0xBB67AE8584CAA73Bu, 0x3C6EF372FE94F82Bu, 0xA54FF53A5F1D36F1u,
        0x510E527FADE682D1u, 0x9B05688C2B3E6C1Fu, 0x1F83D9ABFB41BD6Bu, 0x5BE0CD19137E2179u
    };

    static const uint8_t blake2b_sigma[10][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
        {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
        {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
        {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
        {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}
    };

    #define BLAKE2B_ROTATE(x, n) (((x) >> (n)) | ((x) << (64 - (n))))
    #define BLAKE2B_MIX(a, b, c, d, x, y) \\
        a += b + (x); d = BLAKE2B_ROTATE(d ^ a, 32); c += d; b = BLAKE2B_ROTATE(b ^ c, 24); \\
        a += b + (y); d = BLAKE2B_ROTATE(d ^ a, 16); c += d; b = BLAKE2B_ROTATE(b ^ c, 63);

    #define BLAKE2B_STEP(r, k, a, b, c, d) \\
        BLAKE2B_MIX( \\
            v[a], v[b], v[c], v[d], m[blake2b_sigma[r][k]], m[blake2b_sigma[r][k + 1]])
    #define BLAKE2B_ROUND(r) \\
        BLAKE2B_STEP(r, 0, 0, 4, 8, 12) BLAKE2B_STEP(r, 2, 1, 5, 9, 13) \\
        BLAKE2B_STEP(r, 4, 2, 6, 10, 14) BLAKE2B_STEP(r, 6, 3, 7, 11, 15) \\
        BLAKE2B_STEP(r, 8, 0, 5, 10, 15) BLAKE2B_STEP(r, 10, 1, 6, 11, 12) \\
        BLAKE2B_STEP(r, 12, 2, 7, 8, 13) BLAKE2B_STEP(r, 14, 3, 4, 9, 14)

    static void blake2b_compress(blake2b_t *s, const uint8_t *data, size_t used, int is_last) {
        uint64_t m[16], v[16];
        int i;
        memcpy(m, data, 128);
        for (i = 0; i < 8; i++) {
            v[i] = s->h[i];
            v[i + 8] = blake2b_iv[i];
        }
        s->n += used;
        v[12] ^= s->n;
        if (is_last) v[14] = ~v[14];
        BLAKE2B_ROUND(0) BLAKE2B_ROUND(1) BLAKE2B_ROUND(2) BLAKE2B_ROUND(3)
        BLAKE2B_ROUND(4) BLAKE2B_ROUND(5) BLAKE2B_ROUND(6) BLAKE2B_ROUND(7)
        BLAKE2B_ROUND(8) BLAKE2B_ROUND(9) BLAKE2B_ROUND(0) BLAKE2B_ROUND(1)
        for (i = 0; i < 8; i++) s->h[i] ^= v[i] ^ v[i + 8];
    }

    static inline void blake2b_init(blake2b_t *s) {
        memcpy(s->h, blake2b_iv, sizeof s->h);
        s->h[0] ^= 0x01010000 ^ 16;
        s->n = s->used = 0;
    }

    static inline void blake2b_update(blake2b_t *s, const uint8_t *data, size_t size) {
        while (size) {
            size_t n = sizeof s->block - s->used;
            if (n == 0) {  /* a full block is compressed when more data follow it */
                blake2b_compress(s, s->block, sizeof s->block, 0);
                s->used = 0;
                while (size > sizeof s->block) {
                    blake2b_compress(s, data, sizeof s->block, 0);
                    data += sizeof s->block;
                    size -= sizeof s->block;
                }
                n = sizeof s->block;
            }
            if (n > size) n = size;
            memcpy(s->block + s->used, data, n);
            s->used += n;
            data += n;
            size -= n;
        }
    }

    static inline void blake2b_final(blake2b_t *s, uint8_t *digest) {
        memset(s->block + s->used, 0, sizeof s->block - s->used);
        blake2b_compress(s, s->block, s->used, 1);
        memcpy(digest, s->h, 16);
    }
    """
    ctypedef struct blake2b_t:
        pass

    void blake2b_init(blake2b_t *s) noexcept nogil
    void blake2b_update(blake2b_t *s, const uint8_t *data, size_t size) noexcept nogil
    void blake2b_final(blake2b_t *s, uint8_t *digest) noexcept nogil  # 16 bytes

cdef enum:
    DIGEST_SIZE = 16
