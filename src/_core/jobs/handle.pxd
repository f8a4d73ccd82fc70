from cpython.float cimport PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int32_t, int64_t

cdef extern from *:
    """
    /* Make an object of a class, possibly a Python subclass, without calling its __init__. */
    static inline PyObject *new_instance(PyObject *type) {
        PyObject *no_args = PyTuple_New(0);
        PyObject *made = no_args
            ? ((PyTypeObject *)type)->tp_new((PyTypeObject *)type, no_args, NULL)
            : NULL;
        Py_XDECREF(no_args);
        return made;
    }
    """
    object new_instance(object type)


cdef class StoredResult:
    cdef object value(self)


cdef class PickledResult(StoredResult):
    cdef readonly object payload
    cdef readonly list buffers


cdef class RemoteResult(StoredResult):
    cdef readonly int64_t size


cdef class SpilledResult(StoredResult):
    cdef object store
    cdef int64_t offset
    cdef int64_t size
    cdef tuple sizes


cdef class Handle:
    cdef object pool
    cdef int32_t number  # -1 until the job is in its pool
    cdef bint calls_function  # whether to call `f` itself, not the `execute` of the class
    cdef readonly bint has_inputs  # whether jobs or futures are among the arguments
    cdef readonly int32_t data_item  # that counts the jobs which need the result; -1 without any
    cdef object f
    cdef object arguments
    cdef object keywords  # a dict, or None if there are none
    cdef object context
    cdef object deps
    cdef public object required_items  # the cache items that it needs, or None
    cdef object outcome
    cdef dict __dict__
    cdef object __weakref__


cdef object NO_VALUE


cdef class OptionedFunction:
    cdef readonly object function
    cdef readonly object options


cdef class DataRef(Handle):
    cdef readonly int64_t id
    cdef readonly DataRef target


cdef bint has_outcome(Handle job) noexcept
cdef bint add_value(Handle job, dict results) except -1
cdef void release_references(Handle job) noexcept
cdef list search(object value, int depth, list found, dict seen)
cdef object fields_of(object value)
cdef bint is_named_tuple(object value) except -1
cdef bint is_future(type kind) except -1

cdef enum:
    MAX_DEPTH = 8  # how deep jobs are looked for in containers inside of each other


cdef inline bint is_scalar(object value) noexcept:
    return (
        PyLong_CheckExact(value)
        or PyFloat_CheckExact(value)
        or PyUnicode_CheckExact(value)
        or value is None
    )


cdef inline list find_inputs(tuple args, object kwargs):
    """Return the jobs and futures among arguments, or None. Inline: called for every job."""
    cdef list found = None
    cdef Py_ssize_t i
    for i in range(len(args)):
        if not is_scalar(args[i]):
            found = search(args[i], MAX_DEPTH, found, None)
    if kwargs is not None:
        for value in kwargs.values():
            if not is_scalar(value):
                found = search(value, MAX_DEPTH, found, None)
    return found
