from cpython.float cimport PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact

cdef int check_function(object pool, object f) except -1
cdef int check_value(object value, str where, object key) except -1
cdef tuple as_tuple(object pool, object args)
cdef object as_keywords(object pool, object kwargs)


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
