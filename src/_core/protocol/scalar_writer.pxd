# Writing pickles of plain values; compiled into `scalar_codec`, which describes them.
from bsbpool._core.protocol.small_arrays cimport is_array, write_array
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_Next, PyDict_Size
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #define scalars_is_ascii(u) (PyUnicode_IS_READY(u) && PyUnicode_IS_COMPACT_ASCII(u))
    #define scalars_ascii(u) ((const char *)PyUnicode_1BYTE_DATA(u))
    static inline unsigned long long scalars_swap(unsigned long long x) {
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return __builtin_bswap64(x);
    #else
        return x;
    #endif
    }
    #define IS_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
    """
    bint scalars_is_ascii(object)
    const char *scalars_ascii(object)
    uint64_t scalars_swap(uint64_t) nogil
    const bint IS_LITTLE_ENDIAN

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1

cdef enum:
    MAX_ITEMS = 64  # of a tuple, list or dict
    MAX_DEPTH = 6
    MAX_MUTABLE = 16  # lists, dicts and arrays in one value
    MARGIN = 24  # bytes for one number, and for the opcodes that end all open containers

ctypedef const void *address_t

# A pickle that is being written.
ctypedef struct writer_t:
    uint8_t *end
    int n_mutable
    address_t[MAX_MUTABLE] mutable  # the lists, dicts and arrays so far


cdef inline bint note_mutable(writer_t *w, object value) noexcept:
    """Note a mutable object; return False if it occurs twice, or there are too many.

    An object that occurs twice would be read as two. One that contains itself occurs twice.
    """
    cdef int i
    for i in range(w.n_mutable):
        if w.mutable[i] == <void *>value:
            return False
    if w.n_mutable == MAX_MUTABLE:
        return False
    w.mutable[w.n_mutable] = <void *>value
    w.n_mutable += 1
    return True


cdef inline uint8_t *write(object value, uint8_t *at, writer_t *w, int depth) except? NULL:
    """Write one value; return the position after it, or NULL if too long or not supported."""
    cdef uint8_t *after
    if w.end - at < MARGIN:
        return NULL
    if PyLong_CheckExact(value):
        return write_int(value, at)
    if PyTuple_CheckExact(value):
        return write_tuple(value, at, w, depth)
    if PyDict_CheckExact(value):
        return write_dict(value, at, w, depth)
    if PyList_CheckExact(value):
        return write_list(value, at, w, depth)
    after = write_scalar(value, at, w)
    if after == NULL and is_array(value) and note_mutable(w, value):
        return write_array(value, at, w.end)
    return after


cdef inline uint8_t *write_scalar(object value, uint8_t *at, writer_t *w) except? NULL:
    """Write a scalar; return NULL if it is none."""
    cdef uint64_t bits
    cdef double real
    if value is None:
        at[0] = c'N'
        return at + 1
    if PyLong_CheckExact(value):
        return write_int(value, at)
    if PyFloat_CheckExact(value):
        real = PyFloat_AS_DOUBLE(value)
        memcpy(&bits, &real, 8)
        bits = scalars_swap(bits)
        at[0] = c'G'
        memcpy(at + 1, &bits, 8)
        return at + 9
    if value is True or value is False:
        at[0] = 0x88 if value is True else 0x89
        return at + 1
    if PyUnicode_CheckExact(value):
        if not scalars_is_ascii(value):
            return NULL
        return write_bytes(0x8C, scalars_ascii(value), PyUnicode_GET_LENGTH(value), at, w.end)
    if PyBytes_CheckExact(value):
        return write_bytes(c'C', PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), at, w.end)
    return NULL


cdef inline uint8_t *write_int(object value, uint8_t *at) except? NULL:
    cdef int overflow = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        return NULL
    if 0 <= number < 256:
        at[0] = c'K'
        at[1] = <uint8_t>number
        return at + 2
    if -0x80000000 <= number <= 0x7FFFFFFF:
        at[0] = c'J'
        memcpy(at + 1, &number, 4)
        return at + 5
    at[0] = 0x8A
    at[1] = 8
    memcpy(at + 2, &number, 8)
    return at + 10


cdef inline uint8_t *write_bytes(
    uint8_t kind, const char *data, Py_ssize_t n, uint8_t *at, uint8_t *end
) noexcept:
    if n > 255 or end - at < n + MARGIN:
        return NULL
    at[0] = kind
    at[1] = <uint8_t>n
    memcpy(at + 2, data, n)
    return at + 2 + n


cdef inline uint8_t *write_tuple(object value, uint8_t *at, writer_t *w, int depth) except? NULL:
    cdef Py_ssize_t n = PyTuple_GET_SIZE(value)
    cdef Py_ssize_t i
    if n > MAX_ITEMS or depth == 0:
        return NULL
    if n == 0:
        at[0] = c')'
        return at + 1
    if n > 3:
        at[0] = c'('
        at += 1
    for i in range(n):
        at = write(<object>PyTuple_GET_ITEM(value, i), at, w, depth - 1)
        if at == NULL:
            return NULL
    at[0] = c't' if n > 3 else <uint8_t>(0x84 + n)
    return at + 1


cdef inline uint8_t *write_list(object value, uint8_t *at, writer_t *w, int depth) except? NULL:
    cdef Py_ssize_t n = PyList_GET_SIZE(value)
    cdef Py_ssize_t i
    if n > MAX_ITEMS or depth == 0 or not note_mutable(w, value):
        return NULL
    at[0] = c']'
    if n == 0:
        return at + 1
    at[1] = c'('
    at += 2
    for i in range(n):
        at = write(<object>PyList_GET_ITEM(value, i), at, w, depth - 1)
        if at == NULL:
            return NULL
    at[0] = c'e'
    return at + 1


cdef inline uint8_t *write_dict(object value, uint8_t *at, writer_t *w, int depth) except? NULL:
    cdef Py_ssize_t n = PyDict_Size(value)
    cdef Py_ssize_t i = 0
    cdef PyObject *key
    cdef PyObject *item
    if n > MAX_ITEMS or depth == 0 or not note_mutable(w, value):
        return NULL
    at[0] = c'}'
    if n == 0:
        return at + 1
    at[1] = c'('
    at += 2
    while PyDict_Next(value, &i, &key, &item):
        if w.end - at < MARGIN:
            return NULL
        at = write_scalar(<object>key, at, w)
        if at == NULL:
            return NULL
        at = write(<object>item, at, w, depth - 1)
        if at == NULL:
            return NULL
    at[0] = c'u'
    return at + 1
