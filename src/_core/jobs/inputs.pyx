"""Jobs and futures among the arguments of other jobs: they stand for their results.

They may be arguments themselves, or inside of lists, tuples, dicts (as values) and the fields of
dataclasses, nested up to MAX_DEPTH levels deep. Only these types are searched, and no
subclasses of list, tuple and dict other than named tuples.
"""
from bsbpool._core.jobs.handle cimport (
    MAX_DEPTH,
    Handle,
    fields_of,
    find_inputs,
    is_future,
    is_named_tuple,
    is_scalar,
    search,
)
from bsbpool._core.scheduling.cache_refs cimport cache_t
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.vector cimport ints_push
from cpython.dict cimport PyDict_CheckExact
from cpython.list cimport PyList_CheckExact
from cpython.tuple cimport PyTuple_Check
from libc.stdint cimport int32_t


class UnresolvedInputs(Exception):
    """A call has futures among its arguments, whose jobs must be passed as dependencies."""


def inputs_of(tuple args not None, kwargs=None):
    """Return the jobs and futures among the arguments of a call.

    Parameters
    ----------
    args : tuple
        The positional arguments.
    kwargs : dict, optional
        The keyword arguments.

    Returns
    -------
    list
        Each of them as often as it occurs.
    """
    return find_inputs(args, kwargs) or []


def release_item(Engine engine not None, int32_t item):
    """Count one user of a data item less, from any thread."""
    cdef cache_t *c = &engine.d.cache
    c.items[item].ref_count -= 1
    if c.items[item].ref_count == 0 and ints_push(&c.unused, item) < 0:
        raise MemoryError()


def substitute(args, kwargs, result_of):
    """Return the arguments of a call with all jobs and futures replaced by their results.

    Containers that have none in them are not copied.

    Parameters
    ----------
    args : tuple
        The positional arguments.
    kwargs : dict
        The keyword arguments.
    result_of : callable
        Returns the result of a job or future, or another object that takes its place.
    """
    return replaced((args, kwargs), result_of, MAX_DEPTH + 2, {})


cdef object replaced(object value, object result_of, int depth, dict memo):
    if is_scalar(value) or search(value, depth, None, None) is None:
        return value
    # An object that occurs several times is replaced by one object, as in a pickle.
    if id(value) in memo:
        return memo[id(value)]
    memo[id(value)] = value  # in place of a cycle, which cannot be copied
    if isinstance(value, Handle) or is_future(type(value)):
        made = result_of(value)
    elif PyList_CheckExact(value):
        made = [replaced(item, result_of, depth - 1, memo) for item in value]
    elif PyDict_CheckExact(value):
        made = {key: replaced(item, result_of, depth - 1, memo) for key, item in value.items()}
    elif PyTuple_Check(value):
        items = [replaced(item, result_of, depth - 1, memo) for item in value]
        made = type(value)._make(items) if is_named_tuple(value) else tuple(items)
    else:
        from copy import copy  # slow to import, rarely used

        made = copy(value)
        for name in fields_of(value):
            if hasattr(value, name):
                item = replaced(getattr(value, name), result_of, depth - 1, memo)
                object.__setattr__(made, name, item)  # dataclasses may be frozen
    memo[id(value)] = made
    return made
