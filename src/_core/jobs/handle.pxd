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
    pass


cdef class PickledResult(StoredResult):
    cdef readonly object payload
    cdef readonly list buffers


cdef class SpilledResult(StoredResult):
    cdef object store
    cdef int64_t offset
    cdef int64_t size
    cdef tuple sizes


cdef class Handle:
    cdef object pool
    cdef int32_t number  # -1 until the job is in its pool
    cdef bint calls_function  # whether to call `f` itself, not the `execute` of the class
    cdef object f
    cdef object arguments
    cdef object keywords  # a dict, or None if there are none
    cdef object context
    cdef object deps
    cdef object outcome
    cdef dict __dict__
    cdef object __weakref__


cdef bint has_outcome(Handle job) noexcept
cdef void release_references(Handle job) noexcept
cdef int check_value(object value, str where, object key) except -1


cdef inline int check_values(tuple args, object kwargs) except -1:
    """Refuse jobs and futures as arguments. Inline, since `queue` calls it for every job."""
    cdef Py_ssize_t i
    for i in range(len(args)):
        if not is_scalar(args[i]):
            check_value(args[i], "args", i)
    if kwargs is not None:
        for name, value in kwargs.items():
            check_value(value, "kwargs", name)
    return 0


cdef inline bint is_scalar(object value) noexcept:
    return (
        PyLong_CheckExact(value)
        or PyFloat_CheckExact(value)
        or PyUnicode_CheckExact(value)
        or value is None
    )
