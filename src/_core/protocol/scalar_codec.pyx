"""Pickling and unpickling plain values without the pickler.

Most jobs take and return a few numbers. For these, `pickle.dumps` spends nearly all of its time on
setup. So this module writes the same opcodes itself: for None, bools, ints of 64 bits, floats,
short bytes and ASCII strings, tuples, lists and dicts of them, and small NumPy arrays.

The pickle has no memo. That makes no difference for immutable objects. A list, dict or array that
occurs twice must be read as one object, so such values are left to the pickler, as are all values
that contain an object of another type, subclasses included.

`scalars_dump` writes a pickle that `pickle.loads` can read: of protocol 4 if the value is
immutable, else of protocol 5, so that `scalars_are_mutable` need not read it. `scalars_load` passes
pickles with other opcodes to `pickle.loads`.
"""
from bsbpool._core.protocol.scalar_writer cimport (
    IS_LITTLE_ENDIAN,
    MAX_DEPTH,
    scalars_ascii,
    scalars_swap,
    write,
    write_dict,
    write_int,
    write_tuple,
    writer_t,
)
from bsbpool._core.protocol.small_arrays cimport (
    ARRAY_PREFIX,
    ARRAY_PREFIX_SIZE,
    can_make_arrays,
    read_array,
)
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_CheckExact
from cpython.float cimport PyFloat_CheckExact
from cpython.list cimport PyList_Append, PyList_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeASCII
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

import pickle

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    int PyDict_SetItem(object, object, object) except -1

cdef enum:
    STACK_SIZE = 160
    NEWEST_PROTOCOL = 5  # later protocols may change the meaning of opcodes
    KEPT_KEYS = 64
    MAX_KEY = 32  # bytes of a key that is kept

cdef uint8_t PROTO = 0x80
cdef uint8_t STACK_GLOBAL = 0x93
cdef object pickle_loads = pickle.loads
cdef list KEYS = [""] * KEPT_KEYS  # strings that were keys of dicts


# ------------------------------------------------------------------ writing

cdef int scalars_dump(object value, uint8_t *out) except -1:
    """Write the pickle of a value to `out`, at most MAX_SCALARS bytes.

    Return its length; 0 if it is too long or has an unsupported type.
    """
    cdef writer_t w
    w.end = out + MAX_SCALARS - 1
    w.n_mutable = 0
    return finish(&w, out, write(value, out + 2, &w, MAX_DEPTH))


cdef int scalars_dump_call(
    tuple args, dict keywords, Py_ssize_t position, uint8_t *out
) except -1:
    """Write the pickle of the arguments of a call as `scalars_dump` does.

    This is the tuple ``(args, keywords)``; if the owner of the pool is not the first argument but
    comes after `position` arguments, ``(args, keywords, position)``.
    """
    cdef writer_t w
    cdef uint8_t *at
    w.end = out + MAX_SCALARS - 1
    w.n_mutable = 0
    at = write_tuple(args, out + 2, &w, MAX_DEPTH)
    if at != NULL:
        at = write_dict(keywords, at, &w, MAX_DEPTH)
    if at == NULL:
        return 0
    w.n_mutable -= 1  # the dict of keywords itself
    if position:
        at = write_int(position, at)
    at[0] = 0x87 if position else 0x86
    return finish(&w, out, at + 1)


cdef inline int finish(writer_t *w, uint8_t *out, uint8_t *at) noexcept:
    """Write the first and the last opcode; return the length."""
    if at == NULL or not IS_LITTLE_ENDIAN:
        return 0
    out[0] = PROTO
    out[1] = 5 if w.n_mutable else 4
    at[0] = c'.'
    return <int>(at + 1 - out)


cdef bint scalars_are_mutable(const uint8_t *data, Py_ssize_t size) noexcept:
    """Whether the value of a pickle by `scalars_dump` must be unpickled anew for each reader."""
    return size > 1 and data[1] == 5


cdef bint scalars_are_readable(const uint8_t *data, Py_ssize_t size) noexcept:
    """Whether such a pickle can certainly be read here: arrays need NumPy."""
    return can_make_arrays() or memchr(data, STACK_GLOBAL, <size_t>size) == NULL


# ------------------------------------------------------------------ reading

ctypedef PyObject *ref_t

ctypedef struct stack_t:
    ref_t[STACK_SIZE] items
    int size
    int[STACK_SIZE] marks
    bint[STACK_SIZE] of_dict  # whether the items after the mark are those of a dict
    int n_marks


cdef object scalars_load(const uint8_t *data, Py_ssize_t size):
    """Unpickle a value."""
    cdef stack_t stack
    cdef object value = None
    cdef int code = 0
    stack.size = stack.n_marks = 0
    try:
        code = read(data, size, &stack)
        if code == 1:
            value = <object>stack.items[0]
    finally:
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
    cdef object value
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
            elif begins_array(at - 1, end):
                at += ARRAY_PREFIX_SIZE - 1
                value = read_array(&at, end)
                if value is None:
                    return 0
                push(stack, value)
                continue
            elif is_ascii(at + 1, at[0]):
                push(stack, read_string(<const char *>at + 1, at[0], stack))
            else:
                return 0
            at += 1 + at[0]
        elif kind == c'(':
            if stack.n_marks == STACK_SIZE:
                return 0
            stack.marks[stack.n_marks] = stack.size
            stack.of_dict[stack.n_marks] = at - data > 3 and (at - 2)[0] == c'}'
            stack.n_marks += 1
        elif kind == c'}':
            push(stack, {})
        elif kind == c']':
            push(stack, [])
        elif kind == c'u' and stack.n_marks:
            if not set_items(stack):
                return 0
        elif kind == c'e' and stack.n_marks:
            if not append_items(stack):
                return 0
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


cdef inline bint begins_array(const uint8_t *at, const uint8_t *end) noexcept:
    return end - at > ARRAY_PREFIX_SIZE and memcmp(at, ARRAY_PREFIX, ARRAY_PREFIX_SIZE) == 0


cdef object read_string(const char *data, int n, stack_t *stack):
    """Return an ASCII string. Keys of dicts are kept: they are the same in many jobs."""
    cdef int mark = stack.n_marks - 1
    cdef int slot
    if n == 0 or n > MAX_KEY or mark < 0 or not stack.of_dict[mark]:
        return PyUnicode_DecodeASCII(data, n, NULL)
    if (stack.size - stack.marks[mark]) & 1:  # a value
        return PyUnicode_DecodeASCII(data, n, NULL)
    slot = (data[0] * 7 + data[n - 1] * 3 + data[n >> 1] + n) % KEPT_KEYS
    key = KEYS[slot]
    if PyUnicode_GET_LENGTH(key) != n or memcmp(scalars_ascii(key), data, n) != 0:
        key = KEYS[slot] = PyUnicode_DecodeASCII(data, n, NULL)
    return key


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


cdef bint set_items(stack_t *stack) except -1:
    """Set the items after the last mark in the dict before it; return False if that is wrong."""
    cdef int mark = stack.marks[stack.n_marks - 1]
    cdef int i
    if mark == 0 or (stack.size - mark) & 1 or mark <= base_below(stack):
        return False
    if not PyDict_CheckExact(<object>stack.items[mark - 1]):
        return False
    for i in range(mark, stack.size, 2):
        if not is_key(<object>stack.items[i]):
            return False
        PyDict_SetItem(
            <object>stack.items[mark - 1], <object>stack.items[i], <object>stack.items[i + 1]
        )
    drop_items(stack, mark)
    return True


cdef bint append_items(stack_t *stack) except -1:
    """Append the items after the last mark to the list before it; return False if that is wrong."""
    cdef int mark = stack.marks[stack.n_marks - 1]
    cdef int i
    if mark == 0 or mark <= base_below(stack):
        return False
    if not PyList_CheckExact(<object>stack.items[mark - 1]):
        return False
    for i in range(mark, stack.size):
        PyList_Append(<object>stack.items[mark - 1], <object>stack.items[i])
    drop_items(stack, mark)
    return True


cdef inline int base_below(stack_t *stack) noexcept:
    """Return the index of the first item after the mark before the last one."""
    return stack.marks[stack.n_marks - 2] if stack.n_marks > 1 else 0


cdef inline bint is_key(object value) noexcept:
    return (
        PyUnicode_CheckExact(value)
        or PyLong_CheckExact(value)
        or PyFloat_CheckExact(value)
        or PyBytes_CheckExact(value)
        or value is None
        or value is True
        or value is False
    )


cdef inline void drop_items(stack_t *stack, int mark) noexcept:
    """Remove the last mark, and the items after it."""
    while stack.size > mark:
        stack.size -= 1
        Py_DECREF(<object>stack.items[stack.size])
    stack.n_marks -= 1


# ------------------------------------------------------------------ for Python

def dumps(value):
    """Return the pickle of a value, or None if its type is not supported."""
    cdef uint8_t[MAX_SCALARS] data
    cdef int size = scalars_dump(value, data)
    return PyBytes_FromStringAndSize(<char *>data, size) if size else None


def dumps_call(tuple args not None, dict keywords not None, Py_ssize_t position=0):
    """Return the pickle of the arguments of a call, or None if a type is not supported.

    Parameters
    ----------
    args : tuple
        The positional arguments.
    keywords : dict
        The keyword arguments.
    position : int, optional
        The number of arguments before the owner of the pool.
    """
    cdef uint8_t[MAX_SCALARS] data
    cdef int size = scalars_dump_call(args, keywords, position, data)
    return PyBytes_FromStringAndSize(<char *>data, size) if size else None


def is_mutable(const uint8_t[::1] data not None):
    """Whether the value of a pickle by `dumps` must be unpickled anew for each reader."""
    return data.shape[0] > 0 and scalars_are_mutable(&data[0], data.shape[0])


def loads(const uint8_t[::1] data not None):
    """Unpickle a value."""
    return scalars_load(&data[0] if data.shape[0] else NULL, data.shape[0])
