# CRC-32 as that of zlib, eight bytes at a time and without the GIL.
from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static uint32_t crc32_table[8][256];

    static void crc32_init(void) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0);
            crc32_table[0][i] = value;
        }
        for (int k = 1; k < 8; k++)
            for (int i = 0; i < 256; i++) {
                uint32_t before = crc32_table[k - 1][i];
                crc32_table[k][i] = (before >> 8) ^ crc32_table[0][before & 0xFF];
            }
    }

    static uint32_t crc32_of(const uint8_t *data, size_t size) {
        uint32_t crc = 0xFFFFFFFFu;
        for (; size >= 8; size -= 8, data += 8) {
            uint32_t low, high;
            memcpy(&low, data, 4);
            memcpy(&high, data + 4, 4);
            low ^= crc;
            crc = crc32_table[7][low & 0xFF] ^ crc32_table[6][(low >> 8) & 0xFF]
                ^ crc32_table[5][(low >> 16) & 0xFF] ^ crc32_table[4][low >> 24]
                ^ crc32_table[3][high & 0xFF] ^ crc32_table[2][(high >> 8) & 0xFF]
                ^ crc32_table[1][(high >> 16) & 0xFF] ^ crc32_table[0][high >> 24];
        }
        for (; size; size--) crc = (crc >> 8) ^ crc32_table[0][(crc ^ *data++) & 0xFF];
        return ~crc;
    }
    """
    void crc32_init() noexcept nogil  # once in each module that uses the function
    uint32_t crc32_of(const uint8_t *data, size_t size) noexcept nogil
