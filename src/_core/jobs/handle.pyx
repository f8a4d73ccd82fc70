"""The Python side of a job: its function and arguments, and its result.

`bsbpool.job.Job` is a subclass of `Handle`. A pool has one handle for each of its jobs, so handles
are small. Attributes that few jobs have, such as an error or callbacks, are in the `__dict__`,
which exists only if such an attribute is set.
"""

cimport cython
from libc.stdint cimport int64_t

cdef object NO_OUTCOME = object()


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
    """A job, on the rank that queued it."""

    def __cinit__(self):
        self.number = -1
        self._outcome = NO_OUTCOME

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
        self._pool = pool
        self.f = f
        self.arguments = arguments
        self.keywords = keywords
        self.context = context

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
        """The dependencies: as passed to the constructor until the job is added, then a tuple."""
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
    def _has_outcome(self):
        return has_outcome(self)

    def _set_outcome(self, outcome):
        """Set the result of the job: a `StoredResult` or the value itself."""
        self._outcome = outcome


cdef bint has_outcome(Handle job) noexcept:
    return job._outcome is not NO_OUTCOME


cdef void release_references(Handle job) noexcept:
    """Drop the result and the dependencies, which may be large."""
    job._outcome = NO_OUTCOME
    job.deps = None
