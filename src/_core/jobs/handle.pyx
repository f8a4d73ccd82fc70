"""The Python side of a job: its function and arguments, and its result.

`bsbpool.job.Job` is a subclass of `Handle`. A pool has one handle for each of its jobs, so handles
are small. Attributes that few jobs have, such as an error or callbacks, are in the `__dict__`,
which exists only if such an attribute is set.
"""

cimport cython
from libc.stdint cimport int64_t

import sys

cdef extern from "Python.h":
    bint PyType_IsSubtype(type, type)

cdef object NO_OUTCOME = object()
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

    def set_outcome(self, outcome):
        """Set the result of the job: a `StoredResult` or the value itself."""
        self.outcome = outcome


cdef bint has_outcome(Handle job) noexcept:
    return job.outcome is not NO_OUTCOME


cdef void release_references(Handle job) noexcept:
    """Drop the result and the dependencies, which may be large."""
    job.outcome = NO_OUTCOME
    job.deps = None


# ------------------------------------------------------------------ arguments

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
