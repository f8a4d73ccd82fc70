"""Calling the function of a job."""
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

cdef extern from "Python.h":
    object PyObject_Call(object, object, PyObject *)
    object PyObject_Vectorcall(object, PyObject **, size_t, PyObject *)
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET

cdef enum:
    FEW = 8

ctypedef PyObject *ref_t


class _NoOwner:
    def __repr__(self):
        return "NO_OWNER"


cdef object NOBODY = _NoOwner()
NO_OWNER = NOBODY
"""The owner of pools whose jobs get none."""


cdef class CallDepth:
    """How many jobs this process is inside of, one inside the other.

    Attributes
    ----------
    inside_job : int
        0 while no job runs.
    """


cdef object call(object f, object owner, tuple args, object kwargs):
    """Return ``f(owner, *args, **kwargs)``, without `NO_OWNER`; `kwargs` is a dict or None."""
    cdef ref_t[FEW + 2] stack
    cdef Py_ssize_t n
    cdef Py_ssize_t i
    if args is None:  # which passes for a tuple in Cython, and comes from another rank
        raise TypeError("args must be a tuple, got None")
    if owner is NOBODY:
        return PyObject_Call(f, args, <PyObject *>kwargs if kwargs else NULL)
    n = PyTuple_GET_SIZE(args)
    if kwargs or n > FEW:
        return f(owner, *args, **(kwargs or {}))
    stack[1] = <PyObject *>owner
    for i in range(n):
        stack[i + 2] = PyTuple_GET_ITEM(args, i)
    return PyObject_Vectorcall(f, &stack[1], (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
