"""Calling the function of a job."""
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

cdef extern from "Python.h":
    object PyObject_Call(object, object, PyObject *)
    object PyObject_Vectorcall(object, PyObject **, size_t, PyObject *)
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET

cdef enum:
    MAX_VECTORCALL = 8  # positional arguments that are passed on the C stack

ctypedef PyObject *ref_t


class _NoOwner:
    def __repr__(self):
        return "NO_OWNER"


cdef object NO_OWNER_ = _NoOwner()
NO_OWNER = NO_OWNER_
"""In place of the owner of pools that do not pass an owner to their jobs."""


cdef class CallDepth:
    """Counts the jobs that this process runs, nested in each other.

    Attributes
    ----------
    inside_job : int
        The number of jobs; 0 while none runs.
    """


cdef object call(object f, object owner, tuple args, object kwargs):
    """Return ``f(owner, *args, **kwargs)``, without `owner` if that is `NO_OWNER`.

    `kwargs` is a dict or None.
    """
    cdef ref_t[MAX_VECTORCALL + 2] stack
    cdef Py_ssize_t n
    cdef Py_ssize_t i
    if args is None:  # Cython accepts None as a tuple, and the arguments come from another rank
        raise TypeError("args must be a tuple, got None")
    if owner is NO_OWNER_:
        return PyObject_Call(f, args, <PyObject *>kwargs if kwargs else NULL)
    n = PyTuple_GET_SIZE(args)
    if kwargs or n > MAX_VECTORCALL:
        return f(owner, *args, **(kwargs or {}))
    stack[1] = <PyObject *>owner
    for i in range(n):
        stack[i + 2] = PyTuple_GET_ITEM(args, i)
    return PyObject_Vectorcall(f, &stack[1], (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
