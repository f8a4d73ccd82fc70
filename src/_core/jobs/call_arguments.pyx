"""Checks and conversions of the arguments of a queued call.

Functions with the parameter `pool` call its method `_refuse_argument(name, value)`, which raises
TypeError, for arguments of a wrong type.
"""
from bsbpool._core.jobs.handle cimport Handle
from cpython.object cimport PyCallable_Check
from cpython.tuple cimport PyTuple_CheckExact

import sys

cdef extern from "Python.h":
    bint PyType_IsSubtype(type, type)

cdef tuple NO_ARGUMENTS = ()
cdef type FUTURE = None  # `concurrent.futures.Future`, after the program has imported it


def check_arguments(tuple args not None, kwargs=None):
    """Refuse jobs and futures as arguments of a call: only their results can be sent.

    Checks the arguments themselves. A job or future inside of an argument fails when it is pickled.

    Parameters
    ----------
    args : tuple
        The positional arguments.
    kwargs : dict, optional
        The keyword arguments.

    Raises
    ------
    TypeError
        If an argument is a job or a future.
    """
    check_values(args, kwargs)


cdef int check_value(object value, str where, object key) except -1:
    """Refuse a job or a future."""
    if not is_job_or_future(value):
        return 0
    is_job = isinstance(value, Handle)
    noun = "job" if is_job else "future"
    result = "job.result" if is_job else "future.result()"
    raise TypeError(
        f"{where}[{key!r}] is a {noun}. A {noun} cannot be an argument: wait until it has ended "
        f"and pass {result}, or use deps=[{noun}] to run the call after it."
    )


cdef bint is_job_or_future(object value) except -1:
    global FUTURE
    if isinstance(value, Handle):
        return True
    if FUTURE is None:
        module = sys.modules.get("concurrent.futures._base")
        if module is None:  # then the program has no futures
            return False
        FUTURE = module.Future
    return PyType_IsSubtype(type(value), FUTURE)


cdef int check_function(object pool, object f) except -1:
    if not PyCallable_Check(f):
        pool._refuse_argument("f", f)
    return 0


cdef tuple as_tuple(object pool, object args):
    """Return the positional arguments `args`, an iterable or None, as a tuple."""
    if PyTuple_CheckExact(args):
        return <tuple>args
    if args is None:
        return NO_ARGUMENTS
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        pool._refuse_argument("args", args)
    return tuple(args)


cdef object as_keywords(object pool, object kwargs):
    """Return the keyword arguments `kwargs`, a mapping or None, as a dict; None if empty."""
    if kwargs is None:
        return None
    if not hasattr(kwargs, "keys") or not hasattr(kwargs, "__getitem__"):
        pool._refuse_argument("kwargs", kwargs)
    return dict(kwargs) or None
