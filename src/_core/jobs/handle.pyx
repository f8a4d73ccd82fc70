"""The Python side of a job: its function and arguments, and its result.

`bsbpool.Job` is a subclass of `Handle`. A pool has one handle for each of its jobs, so handles
are small. Attributes that few jobs have, such as an error or callbacks, are in the `__dict__`,
which exists only if such an attribute is set.
"""

cimport cython
from cpython.dict cimport PyDict_CheckExact
from cpython.list cimport PyList_CheckExact
from cpython.tuple cimport PyTuple_Check, PyTuple_CheckExact
from libc.stdint cimport int64_t

import sys

cdef extern from "Python.h":
    bint PyType_IsSubtype(type, type)
    bint PyType_HasFeature(type, unsigned long)
    unsigned long Py_TPFLAGS_HEAPTYPE

cdef object NO_OUTCOME = object()
cdef object NO_VALUE = object()
cdef type FUTURE = None  # `concurrent.futures.Future`, after the program has imported it


cdef class StoredResult:
    """A pickled result. It is unpickled anew for each reader."""

    def load(self, bint copy):
        """Return the pickle and its out-of-band buffers.

        Parameters
        ----------
        copy : bool
            Whether to copy the buffers, so that no other reader gets the same memory.

        Returns
        -------
        payload : bytes-like
            The pickle.
        buffers : list of bytes-like
            Its out-of-band buffers.
        """
        raise NotImplementedError

    cdef object value(self):
        """Return the result, without copying buffers, or NO_VALUE.

        NO_VALUE means that the result must be loaded by `Job`, which handles errors.
        """
        return NO_VALUE


cdef class PickledResult(StoredResult):
    """A pickled result in memory.

    Attributes
    ----------
    payload : bytes-like
        The pickle.
    buffers : list of bytes-like
        Its out-of-band buffers.
    """

    def __cinit__(self, payload, list buffers not None):
        self.payload = payload
        self.buffers = buffers

    def load(self, bint copy):
        return self.payload, [buffer.copy() if copy else buffer for buffer in self.buffers]


@cython.no_gc
cdef class RemoteResult(StoredResult):
    """A result that its worker keeps for other jobs, and has not sent to the main rank.

    Attributes
    ----------
    size : int
        The size of the pickle and its buffers, in bytes.
    """

    def __cinit__(self, int64_t size):
        self.size = size

    def load(self, bint copy):
        raise LookupError("the result was not sent to the main rank")


@cython.no_gc  # the store holds no reference to results, and there may be very many of these
cdef class SpilledResult(StoredResult):
    """A pickled result in a file.

    Parameters
    ----------
    store : object
        Has a method `read(offset, size, sizes)` that returns the pickle and its buffers.
    offset, size : int
        Position and size of the pickle in the file, in bytes. The buffers follow it.
    sizes : tuple of int
        The sizes of the buffers, in bytes.
    """

    def __cinit__(self, store, int64_t offset, int64_t size, tuple sizes not None):
        self.store = store
        self.offset = offset
        self.size = size
        self.sizes = sizes

    def load(self, bint copy):
        return self.store.read(self.offset, self.size, self.sizes)


cdef class Handle:
    """A job, on the rank that queued it.

    Attributes
    ----------
    has_inputs : bool
        Whether jobs or futures, which stand for their results, are among the arguments.
    data_item : int
        The number of the data item that counts the jobs which need the result; -1 without any.
    required_items : sequence or None
        The cache items that the job needs.
    """

    def __cinit__(self):
        self.number = self.data_item = -1
        self.outcome = NO_OUTCOME

    def __hash__(self):
        # Equality is identity, so the hash derives from the address. Python's own hash drops only
        # four bits of it, but handles are 128 bytes apart: a million of them would share a quarter
        # million slots of a dictionary.
        return <Py_hash_t>(<size_t><void *>self >> 7)

    def _set_call(self, pool, f, arguments, keywords, context):
        """Set what the job calls. To be called once.

        Parameters
        ----------
        pool : JobPool
            The pool that the job is made for.
        f : callable or None
            The function; None if the class of the job defines `execute`.
        arguments : object
            A tuple with the positional arguments of `f`; or any object that `execute` accepts.
        keywords : dict or None
            The keyword arguments.
        context : object
            The context of the submission.
        """
        self.pool = pool
        self.f = f
        self.arguments = arguments
        self.keywords = keywords
        self.context = context

    # What subclasses use.

    @property
    def _pool(self):
        return self.pool

    @property
    def _id(self):
        """The number of the job in its pool; None if it was not added to the pool."""
        return None if self.number < 0 else self.number

    @property
    def _function(self):
        """The function of the job; None if its class defines `execute`."""
        return self.f

    @property
    def _arguments(self):
        return self.arguments

    @property
    def _kwargs(self):
        return {} if self.keywords is None else self.keywords

    @property
    def _context(self):
        return self.context

    @_context.setter
    def _context(self, value):
        self.context = value

    @property
    def _deps(self):
        return self.deps

    @_deps.setter
    def _deps(self, value):
        self.deps = value

    @property
    def _calls_function(self):
        """Whether workers call `f` itself, so that they need not know the class of the job."""
        return self.calls_function

    @_calls_function.setter
    def _calls_function(self, bint value):
        self.calls_function = value

    @property
    def _outcome(self):
        return self.outcome

    @property
    def _has_outcome(self):
        return has_outcome(self)

    # For the rest of the package. The names are not those that a class of jobs is likely to define.

    @property
    def in_pool(self):
        """Whether the job was added to its pool, and not released since."""
        return self.number >= 0

    def belongs_to(self, pool):
        """Return whether the job was made for a pool."""
        return self.pool is pool

    @property
    def own_arguments(self):
        """The arguments as they were given, and the keyword arguments."""
        return self.arguments, self._kwargs

    @property
    def function_call(self):
        """The function, its positional and its keyword arguments.

        None if workers call the `execute` of the class instead.
        """
        return (self.f, self.arguments, self._kwargs) if self.calls_function else None

    @property
    def required_jobs(self):
        """The dependencies: as passed to the constructor until the job is added, then a tuple."""
        return self.deps

    @property
    def submission_data(self):
        """The context of the submission, the keywords for it, or the future of a call."""
        return self.context

    @property
    def held_resources(self):
        """What the job occupies now of the resources of its rank: devices or amounts, by name."""
        return self.pool.placement.resources_of(self.number)

    @property
    def random_stream(self):
        """The number of the stream of the job's random numbers, see the option `seed`."""
        return self.number

    def call_indirectly(self):
        """Let workers not call the function itself, since the job has options."""
        self.calls_function = False

    @property
    def stored_outcome(self):
        """The result as it is stored, possibly a `StoredResult`; any object if there is none."""
        return self.outcome

    def set_outcome(self, outcome):
        """Set the result of the job: a `StoredResult` or the value itself."""
        self.outcome = outcome


cdef class OptionedFunction:
    """A function whose calls have default options, see `bsbpool.decorators`.

    Attributes
    ----------
    function : callable
        The function.
    options : JobOptions
        The options.
    """

    def __cinit__(self, function, options):
        self.function = function
        self.options = options


cdef class DataRef(Handle):
    """An object that was broadcast, as an argument of jobs.

    A user has a reference whose `target` is another one, which takes its place in the arguments of
    jobs. So the data can be dropped when the user has dropped his reference.

    Parameters
    ----------
    id : int
        The id of the data, a negative number.
    target : DataRef or None
        As above.
    """

    def __cinit__(self, int64_t id, DataRef target=None):
        self.id = id
        self.target = target

    @property
    def counting_pool(self):
        """The pool to which `data_item` belongs; None if no job of a pool needs the data yet."""
        return self.pool


cdef bint has_outcome(Handle job) noexcept:
    return job.outcome is not NO_OUTCOME


cdef bint add_value(Handle job, dict results) except -1:
    """Enter the result into `results`; return False if only `Job` can load it, or has none."""
    if not has_outcome(job):
        return False
    value = job.outcome
    if isinstance(value, StoredResult):
        value = (<StoredResult>value).value()
        if value is NO_VALUE:
            return False
    results[job] = value
    return True


cdef void release_references(Handle job) noexcept:
    """Drop the result and the dependencies, which may be large."""
    job.outcome = NO_OUTCOME
    job.deps = None


# ------------------------------------------------------------------ jobs among arguments

cdef list search(object value, int depth, list found, dict seen):
    """Append the jobs and futures in a value to `found`, which is None for an empty list.

    `seen` has the containers that were searched, with their depths, so that one that occurs in
    many places is searched once; None for an argument itself.
    """
    if isinstance(value, Handle) or is_future(type(value)):
        if found is None:
            found = []
        found.append(value)
        return found
    if depth == 0:
        return found
    items = items_of(value)
    if items is None:
        return found
    if seen is None:
        seen = {}
    elif seen.get(id(value), 0) >= depth:
        return found
    seen[id(value)] = depth
    for item in items:
        if not is_scalar(item):
            found = search(item, depth - 1, found, seen)
    return found


cdef object items_of(object value):
    """Return the items of a container that is searched; None for other objects."""
    if PyList_CheckExact(value) or PyTuple_CheckExact(value):
        return value
    if PyDict_CheckExact(value):
        return value.values()
    if not PyType_HasFeature(type(value), Py_TPFLAGS_HEAPTYPE):
        return None
    if is_named_tuple(value):
        return tuple(value)
    fields = fields_of(value)
    return None if fields is None else [getattr(value, name, None) for name in fields]


cdef bint is_named_tuple(object value) except -1:
    return PyTuple_Check(value) and hasattr(type(value), "_make")


cdef object fields_of(object value):
    """Return the names of the fields of a dataclass instance; None for other objects."""
    if getattr(type(value), "__dataclass_fields__", None) is None:
        return None
    return [field.name for field in sys.modules["dataclasses"].fields(value)]


cdef bint is_future(type kind) except -1:
    global FUTURE
    if FUTURE is None:
        module = sys.modules.get("concurrent.futures._base")
        if module is None:  # then the program has no futures
            return False
        FUTURE = module.Future
    return PyType_IsSubtype(kind, FUTURE)
