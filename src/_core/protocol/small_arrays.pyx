"""Pickling small NumPy arrays without the pickler.

NumPy needs several microseconds to pickle an array of any size. A contiguous array of a few numbers
is written here as a call of `array` with its bytes, data type and shape. Any unpickler can execute
this call; `read_array` does it without the unpickler.

Arrays are accessed through the buffer protocol, so this module is built without NumPy.
"""
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_ND,
    PyBUF_WRITABLE,
    Py_buffer,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, strcmp

cdef extern from *:
    """
    #define type_of(o) ((PyObject *)Py_TYPE(o))
    #define type_name_of(o) (Py_TYPE(o)->tp_name)
    """
    void *type_of(object) noexcept
    const char *type_name_of(object) noexcept

cdef enum:
    MAX_DIMENSIONS = 4
    MAX_SIZE = 0x7FFFFFFF
    MARGIN = 24  # bytes that must be left, see `scalar_writer`

# The data types, by the characters that stand for them. Not those with two names on this machine
# (`q` is `l`): NumPy pickles the size, so that the copy may have the other name.
cdef bytes KINDS = b"dlifbBhHIL?eFD"

cdef void *ARRAY = NULL  # `numpy.ndarray`, after an array or the pickle of one was seen
cdef object EMPTY = None  # `numpy.empty`
cdef list DTYPES = []  # the data types of KINDS


cdef int import_numpy() except -1:
    global ARRAY, EMPTY
    import numpy

    DTYPES[:] = [numpy.dtype(chr(kind)) for kind in KINDS]
    EMPTY = numpy.empty
    ARRAY = <void *>numpy.ndarray
    return 0


cdef bint can_make_arrays() noexcept:
    """Whether NumPy was imported here, so that reading an array does not fail for want of it."""
    return ARRAY != NULL


cdef bint is_array(object value) except -1:
    """Whether a value is an array, and of no subclass."""
    if ARRAY == NULL:
        # The names of classes that are written in Python contain no module.
        if strcmp(type_name_of(value), b"numpy.ndarray") != 0:
            return False
        import_numpy()
    return type_of(value) == ARRAY


# ------------------------------------------------------------------ writing

cdef uint8_t *write_array(object value, uint8_t *at, uint8_t *end) except? NULL:
    """Write an array; return the position after it, or NULL if it is too long or not supported."""
    cdef Py_buffer view
    cdef object dtype = value.dtype
    cdef int kind = 0
    # By identity: an equal data type may have metadata.
    while dtype is not DTYPES[kind]:
        kind += 1
        if kind == len(KINDS):
            return NULL
    try:
        PyObject_GetBuffer(value, &view, PyBUF_ND | PyBUF_C_CONTIGUOUS)
    except (BufferError, ValueError):  # not contiguous
        return NULL
    at = write_view(&view, <uint8_t>KINDS[kind], at, end)
    PyBuffer_Release(&view)
    return at


cdef uint8_t *write_view(Py_buffer *view, uint8_t kind, uint8_t *at, uint8_t *end) noexcept:
    cdef uint32_t size = <uint32_t>view.len
    cdef int32_t length
    cdef int i
    if (
        view.ndim > MAX_DIMENSIONS
        or view.len > end - at
        or end - at - view.len < ARRAY_PREFIX_SIZE + 5 * view.ndim + 12 + MARGIN
    ):
        return NULL
    for i in range(view.ndim):
        if view.shape[i] >= MAX_SIZE:
            return NULL
    memcpy(at, ARRAY_PREFIX, ARRAY_PREFIX_SIZE)
    at += ARRAY_PREFIX_SIZE
    at[0] = c'B'
    memcpy(at + 1, &size, 4)
    if size:
        memcpy(at + 5, view.buf, size)
    at += 5 + size
    at[0] = c'K'
    at[1] = kind
    at[2] = c'('
    at += 3
    for i in range(view.ndim):
        length = <int32_t>view.shape[i]
        at[0] = c'J'
        memcpy(at + 1, &length, 4)
        at += 5
    at[0] = c't'
    at[1] = 0x89 if view.readonly else 0x88
    at[2] = c't'
    at[3] = c'R'
    return at + 4


# ------------------------------------------------------------------ reading

cdef object read_array(const uint8_t **at, const uint8_t *end):
    """Read an array whose prefix ends at `at`, and advance it.

    None if the bytes are not what `write_array` writes.
    """
    cdef const uint8_t *here = at[0]
    cdef const uint8_t *data
    cdef int64_t[MAX_DIMENSIONS] shape
    cdef int32_t length
    cdef uint32_t size
    cdef uint8_t kind
    cdef int n = 0
    if end - here < 5 or here[0] != c'B':
        return None
    memcpy(&size, here + 1, 4)
    data = here + 5
    if size > end - data:
        return None
    here = data + size
    if end - here < 3 or here[0] != c'K' or here[2] != c'(':
        return None
    kind = here[1]
    here += 3
    while end - here > 5 and here[0] == c'J' and n < MAX_DIMENSIONS:
        memcpy(&length, here + 1, 4)
        shape[n] = length
        n += 1
        here += 5
    if (
        end - here < 4 or here[0] != c't' or here[2] != c't' or here[3] != c'R'
        or (here[1] != 0x88 and here[1] != 0x89)
    ):
        return None
    at[0] = here + 4
    return make_array(<const char *>data, size, kind, shape, n, here[1] == 0x88)


cdef object make_array(
    const char *data, Py_ssize_t size, int kind, const int64_t *shape, int n, bint writeable
):
    """Return a new array that owns a copy of the data."""
    cdef Py_buffer view
    cdef int64_t total
    cdef int index
    cdef int i
    if EMPTY is None:
        import_numpy()
    index = KINDS.find(kind) if 0 < kind < 256 else -1
    if index < 0:
        raise ValueError(f"{kind} stands for no data type of an array")
    dtype = DTYPES[index]
    total = dtype.itemsize
    for i in range(n):
        if not 0 <= shape[i] < MAX_SIZE:
            raise ValueError(f"an array cannot have {shape[i]} items in one dimension")
        total = min(total * shape[i], MAX_SIZE)
    if total != size:
        raise ValueError(f"an array of {total} bytes cannot be made of {size} bytes")
    made = EMPTY(shape[0] if n == 1 else tuple([shape[i] for i in range(n)]), dtype)
    if size:
        PyObject_GetBuffer(made, &view, PyBUF_WRITABLE)
        memcpy(view.buf, data, size)
        PyBuffer_Release(&view)
    if not writeable:
        made.setflags(False)
    return made


def array(bytes data not None, int kind, tuple shape not None, bint writeable):
    """Return an array; pickles call this function.

    Parameters
    ----------
    data : bytes
        The items, contiguous in C order.
    kind : int
        The character code of the data type.
    shape : tuple of int
        The shape.
    writeable : bool
        Whether the array is writeable.

    Raises
    ------
    ValueError
        If the arguments do not match each other.
    """
    cdef int64_t[MAX_DIMENSIONS] lengths
    cdef Py_ssize_t i
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"shape must have at most {MAX_DIMENSIONS} items, got {len(shape)}")
    for i in range(len(shape)):
        lengths[i] = shape[i]
    return make_array(
        PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), kind, lengths, <int>len(shape), writeable
    )
