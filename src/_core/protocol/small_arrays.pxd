from libc.stdint cimport uint8_t

cdef extern from *:
    """
    /* How the pickle of an array begins: with `array`, and the mark before its arguments. */
    #define ARRAY_PREFIX \
        "\\x8c\\x23" "bsbpool._core.protocol.small_arrays" "\\x8c\\x05" "array" "\\x93("
    #define ARRAY_PREFIX_SIZE ((int)sizeof(ARRAY_PREFIX) - 1)
    """
    const char *ARRAY_PREFIX
    const int ARRAY_PREFIX_SIZE

cdef bint is_array(object value) except -1
cdef bint can_make_arrays() noexcept
cdef uint8_t *write_array(object value, uint8_t *at, uint8_t *end) except? NULL
cdef object read_array(const uint8_t **at, const uint8_t *end)
