# The sets of cache items that jobs of a pool need; compiled into `submission`.
#
# A dict has the sets by the addresses of their items. Its values are the number of the set, a list
# of the items that its jobs share, and a tuple that keeps the items alive.
from cpython.list cimport PyList_CheckExact
from cpython.tuple cimport PyTuple_CheckExact

cdef enum:
    MAX_CACHE_SETS = 1024  # that are recognised


cdef inline object addresses_of(object items):
    """Return the key of a list or tuple; that of a single item is a plain number."""
    if len(items) == 1:
        return <size_t><void *>items[0]
    return tuple([<size_t><void *>item for item in items])


cdef inline tuple find_cache_set(dict sets, object items):
    """Return the entry of a set of cache items; None if it is not known."""
    if PyList_CheckExact(items) or PyTuple_CheckExact(items):
        return <tuple>sets.get(addresses_of(items))
    return None


cdef inline tuple add_cache_set(dict sets, object items, int number):
    """Return a new entry."""
    kept = tuple(items)
    entry = number, list(kept), kept
    if len(sets) >= MAX_CACHE_SETS:
        sets.clear()
    sets[addresses_of(kept)] = entry
    return entry
