"""What the core keeps of a job beside its tables: what it calls, and what came of it.

`bsbpool.job.Job` is a `Handle` with manners. There is one for each job, so it is small:
what few jobs have (an error, callbacks) is kept in its `__dict__`, which is made when
something is put there.
"""

cimport cython
from libc.stdint cimport int64_t

cdef object NOTHING = object()  # the outcome of a job that has none


cdef class Kept:
    """A pickled result: each reader unpickles one of its own."""

    def parts(self, bint fresh):
        """Return the pickle and its buffers.

        Parameters
        ----------
        fresh : bool
            Whether nobody else may get the same buffers.
        """
        raise NotImplementedError


cdef class Packed(Kept):
    """A result in memory.

    Attributes
    ----------
    payload : bytes-like
        The pickle.
    buffers : list of bytes-like
        What its arrays are made of.
    """

    def __cinit__(self, payload, list buffers not None):
        self.payload = payload
        self.buffers = buffers

    def parts(self, bint fresh):
        return self.payload, [buffer.copy() if fresh else buffer for buffer in self.buffers]


@cython.no_gc  # the store knows no results, and there may be very many
cdef class Spilled(Kept):
    """A result that stands in a file.

    Parameters
    ----------
    store : object
        Its `read(offset, size, sizes)` returns the pickle and its buffers.
    offset, size : int
        Where the pickle stands in the file, and its bytes; the buffers follow.
    sizes : tuple of int
        Bytes of the buffers.
    """

    def __cinit__(self, store, int64_t offset, int64_t size, tuple sizes not None):
        self.store = store
        self.offset = offset
        self.size = size
        self.sizes = sizes

    def parts(self, bint fresh):
        return self.store.read(self.offset, self.size, self.sizes)


cdef class Handle:
    """A job on the rank that queued it.

    Parameters
    ----------
    pool : JobPool
        The pool that it is made for.
    f : callable or None
        What is called; None when the class of the job says it in `execute`.
    arguments : object
        Positional arguments of `f`, a tuple; or anything that `execute` understands.
    keywords : dict or None
        Keyword arguments.
    context : object
        What is known of the submission.
    """

    def __cinit__(self):
        self.number = -1
        self._outcome = NOTHING

    def __hash__(self):
        # By identity, as equality is. But handles lie 128 bytes apart, and Python's own hash
        # of an address only drops four bits: a million of them would share a quarter million
        # slots of a dictionary.
        return <Py_hash_t>(<size_t><void *>self >> 7)

    def _describe(self, pool, f, arguments, keywords, context):
        """Say what the job is made of; once."""
        self._pool = pool
        self.f = f
        self.arguments = arguments
        self.keywords = keywords
        self.context = context

    @property
    def _id(self):
        """The job's number in the core; None while it is not in its pool."""
        return None if self.number < 0 else self.number

    @property
    def _function(self):
        """What is called itself; None when it is the class's `execute`."""
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
        """The jobs that it waits for: as given to the constructor, then as a tuple."""
        return self.deps

    @_deps.setter
    def _deps(self, value):
        self.deps = value

    @property
    def _calls(self):
        """Whether a worker needs to know `f` only."""
        return self.calls

    @_calls.setter
    def _calls(self, bint value):
        self.calls = value

    @property
    def _has_outcome(self):
        return has_outcome(self)

    def _end_with(self, outcome):
        """Keep what the job returned, a `Kept` or the value itself."""
        self._outcome = outcome


cdef bint has_outcome(Handle job) noexcept:
    return job._outcome is not NOTHING


cdef void forget(Handle job) noexcept:
    """Let go of what can be large: the result, and whom it waited for."""
    job._outcome = NOTHING
    job.deps = None
