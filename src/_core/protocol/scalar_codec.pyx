"""Pickling and unpickling scalars without the pickler.

Most jobs take and return a few numbers. For these, `pickle.dumps` spends nearly all of its time on
setup. So this module writes the same opcodes itself: for None, bools, ints of 64 bits, floats,
short bytes and ASCII strings, and tuples of them. As all these are immutable, it makes no
difference that the pickle has no memo of equal objects.

`scalars_dump` writes a pickle of protocol 4 that `pickle.loads` can read. `scalars_load` passes
pickles with other opcodes to `pickle.loads`.
"""
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport (
    PyTuple_CheckExact,
    PyTuple_GET_ITEM,
    PyTuple_GET_SIZE,
    PyTuple_New,
    PyTuple_SET_ITEM,
)
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeASCII
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

import pickle

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
    MAX_ITEMS = 32  # of a tuple
    MAX_DEPTH = 4
    STACK_SIZE = 64
    NEWEST_PROTOCOL = 5  # later protocols may change the meaning of opcodes

cdef uint8_t PROTO = 0x80
cdef object pickle_loads = pickle.loads


# ------------------------------------------------------------------ writing

cdef int scalars_dump(object value, uint8_t *out) except -1:
    """Write the pickle of a value to `out`, at most MAX_SCALARS bytes.

    Return its length; 0 if it is too long or has an unsupported type.
    """
    cdef uint8_t *at = out + 2
    cdef uint8_t *end = out + MAX_SCALARS - 1
    if not IS_LITTLE_ENDIAN:
        return 0
    out[0] = PROTO
    out[1] = 4
    at = write(value, at, end, MAX_DEPTH)
    if at == NULL:
        return 0
    at[0] = c'.'
    return <int>(at + 1 - out)


cdef uint8_t *write(object value, uint8_t *at, uint8_t *end, int depth) except? NULL:
    """Write one value; return the position after it, or NULL if too long or not supported."""
    cdef Py_ssize_t n
    cdef uint64_t bits
    cdef double real
    if end - at < 16:
        return NULL
    if value is None:
        at[0] = c'N'
        return at + 1
    if PyLong_CheckExact(value):
        return write_int(value, at)
    if PyTuple_CheckExact(value):
        return write_tuple(value, at, end, depth)
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
        n = PyUnicode_GET_LENGTH(value)
        return write_bytes(0x8C, scalars_ascii(value), n, at, end)
    if PyBytes_CheckExact(value):
        return write_bytes(c'C', PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), at, end)
    return NULL


cdef uint8_t *write_int(object value, uint8_t *at) except? NULL:
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


cdef uint8_t *write_bytes(
    uint8_t kind, const char *data, Py_ssize_t n, uint8_t *at, uint8_t *end
) noexcept:
    if n > 255 or end - at < n + 16:
        return NULL
    at[0] = kind
    at[1] = <uint8_t>n
    memcpy(at + 2, data, n)
    return at + 2 + n


cdef uint8_t *write_tuple(object value, uint8_t *at, uint8_t *end, int depth) except? NULL:
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
        at = write(<object>PyTuple_GET_ITEM(value, i), at, end, depth - 1)
        if at == NULL:
            return NULL
    at[0] = c't' if n > 3 else <uint8_t>(0x84 + n)
    return at + 1


# ------------------------------------------------------------------ reading

ctypedef PyObject *ref_t

ctypedef struct stack_t:
    ref_t[STACK_SIZE] items
    int size
    int[STACK_SIZE] marks
    int n_marks


cdef object scalars_load(const uint8_t *data, Py_ssize_t size):
    """Unpickle a value."""
    cdef stack_t stack
    cdef object value = None
    cdef int code
    stack.size = stack.n_marks = 0
    code = read(data, size, &stack)
    if code == 1:
        value = <object>stack.items[0]
    while stack.size:
        stack.size -= 1
        Py_DECREF(<object>stack.items[stack.size])
    if code == 1:
        return value
    return pickle_loads(PyBytes_FromStringAndSize(<const char *>data, size))


cdef inline void push(stack_t *stack, object value) noexcept:
    Py_INCREF(value)
    stack.items[stack.size] = <PyObject *>value
    stack.size += 1


cdef int read(const uint8_t *data, Py_ssize_t size, stack_t *stack) except -1:
    """Execute the opcodes of a pickle; return 1, or 0 if one is not supported here."""
    cdef const uint8_t *at = data + 2
    cdef const uint8_t *end = data + size
    cdef uint8_t kind
    cdef int64_t wide
    cdef int32_t number
    cdef uint16_t half
    cdef uint64_t bits
    cdef double real
    if size < 3 or data[0] != PROTO or data[1] > NEWEST_PROTOCOL or not IS_LITTLE_ENDIAN:
        return 0
    while at < end and stack.size < STACK_SIZE:
        kind = at[0]
        at += 1
        if kind == c'.':
            return at == end and stack.size == 1 and stack.n_marks == 0
        if kind == c'K' and end - at > 1:
            push(stack, at[0])
            at += 1
        elif kind == c'J' and end - at > 4:
            memcpy(&number, at, 4)
            push(stack, number)
            at += 4
        elif kind == c'M' and end - at > 2:
            memcpy(&half, at, 2)
            push(stack, half)
            at += 2
        elif kind == c'G' and end - at > 8:
            memcpy(&bits, at, 8)
            bits = scalars_swap(bits)
            memcpy(&real, &bits, 8)
            push(stack, real)
            at += 8
        elif kind == 0x8A and end - at > 9 and at[0] == 8:
            memcpy(&wide, at + 1, 8)
            push(stack, wide)
            at += 9
        elif kind == c'N':
            push(stack, None)
        elif kind == 0x88:
            push(stack, True)
        elif kind == 0x89:
            push(stack, False)
        elif (kind == 0x8C or kind == c'C') and end - at > 1 and end - at > 1 + at[0]:
            if kind == c'C':
                push(stack, PyBytes_FromStringAndSize(<const char *>at + 1, at[0]))
            elif is_ascii(at + 1, at[0]):
                push(stack, PyUnicode_DecodeASCII(<const char *>at + 1, at[0], NULL))
            else:
                return 0
            at += 1 + at[0]
        elif kind == c'(':
            if stack.n_marks == STACK_SIZE:
                return 0
            stack.marks[stack.n_marks] = stack.size
            stack.n_marks += 1
        elif kind == c')':
            push(stack, ())
        elif kind == c't' and stack.n_marks:
            stack.n_marks -= 1
            make_tuple(stack, stack.size - stack.marks[stack.n_marks])
        elif 0x85 <= kind <= 0x87 and stack.size >= base_of_mark(stack) + kind - 0x84:
            make_tuple(stack, kind - 0x84)
        else:
            return 0
    return 0


cdef inline int base_of_mark(stack_t *stack) noexcept:
    """Return the index of the first item after the last mark."""
    return stack.marks[stack.n_marks - 1] if stack.n_marks else 0


cdef bint is_ascii(const uint8_t *data, int n) noexcept:
    cdef int i
    for i in range(n):
        if data[i] > 127:
            return False
    return True


cdef int make_tuple(stack_t *stack, int n) except -1:
    """Replace the topmost `n` items by a tuple, which takes over their references."""
    cdef tuple made = PyTuple_New(n)
    cdef int i
    stack.size -= n
    for i in range(n):
        PyTuple_SET_ITEM(made, i, <object>stack.items[stack.size + i])
    push(stack, made)
    return 0


# ------------------------------------------------------------------ for Python

def dumps(value):
    """Return the pickle of a value, or None if its type is not supported."""
    cdef uint8_t[MAX_SCALARS] data
    cdef int size = scalars_dump(value, data)
    return PyBytes_FromStringAndSize(<char *>data, size) if size else None


def loads(const uint8_t[::1] data not None):
    """Unpickle a value."""
    return scalars_load(&data[0] if data.shape[0] else NULL, data.shape[0])
