# The types of the arguments of `queue`, and of those of jobs that a worker was sent.
from cpython.dict cimport PyDict_CheckExact, PyDict_Copy
from cpython.tuple cimport PyTuple_CheckExact


cdef inline tuple tuple_of(object args):
    """Return positional arguments as a tuple; None if they are not in an iterable."""
    if PyTuple_CheckExact(args):
        return <tuple>args
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        return None
    return tuple(args)


cdef inline dict dict_of(object kwargs):
    """Return keyword arguments as a new dict; None if they are not in a mapping."""
    if PyDict_CheckExact(kwargs):
        return PyDict_Copy(kwargs)
    if not hasattr(kwargs, "keys") or not hasattr(kwargs, "__getitem__"):
        return None
    return dict(kwargs)


cdef inline tuple split_call(object given):
    """Return the arguments, the keywords and the position of the owner that a payload has."""
    if type(given) is tuple and len(given) in (2, 3):
        args, keywords, position = given if len(given) == 3 else (*given, 0)
        if (
            type(args) is tuple and type(keywords) is dict and type(position) is int
            and 0 <= position <= len(args)
        ):
            return args, keywords, position
    raise TypeError(f"the arguments of a job must be a tuple and a dict, got {given!r}")
