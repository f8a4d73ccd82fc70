"""Calling the function of a job, and interrupting it.

An interrupt raises an error in the job, at the next bytecode of its thread. It must never be raised
in the code around the job or in the next job. So it is requested and raised only between `begin`
and `end`:

- It is requested by a thread that holds the GIL, or by the progress thread of a worker, which holds
  a mutex that the worker needs before `end`.
- It is raised by the thread of the job. If that is the main thread, it gets a signal, whose handler
  asks `take` whether an interrupt is due. So the job leaves system calls as well. Elsewhere the
  interpreter raises the error (`PyThreadState_SetAsyncExc`), and `end` withdraws that.

The code around a function, which unpickles its arguments for example, masks interrupts. They are
raised only inside of `call` then.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    object PyObject_Call(object, object, PyObject *)
    object PyObject_Vectorcall(object, PyObject **, size_t, PyObject *)
    object PyObject_VectorcallDict(object, PyObject **, size_t, PyObject *)
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    unsigned long PyThread_get_thread_ident() nogil
    int PyThreadState_SetAsyncExc(unsigned long, PyObject *)

cdef extern from *:
    """
    #define claim_interrupt(kind, new) __sync_bool_compare_and_swap(kind, 0, new)
    #define interrupt_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    bint claim_interrupt(volatile int *, int) nogil
    void interrupt_fence() nogil

cdef extern from "<pthread.h>" nogil:
    pthread_t pthread_self()

cdef extern from "<signal.h>" nogil:
    int pthread_kill(pthread_t, int)

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


cdef object call(object f, object owner, tuple args, object kwargs, Py_ssize_t position):
    """Return ``f(owner, *args, **kwargs)``, without `owner` if that is `NO_OWNER`.

    `kwargs` is a dict or None. The owner comes after `position` of the arguments: 0, except for
    those of a `functools.partial`.
    """
    cdef ref_t[MAX_VECTORCALL + 2] stack
    cdef Py_ssize_t n
    cdef Py_ssize_t i
    if args is None:  # Cython accepts None as a tuple, and the arguments come from another rank
        raise TypeError("args must be a tuple, got None")
    if owner is NO_OWNER_:
        return PyObject_Call(f, args, <PyObject *>kwargs if kwargs else NULL)
    n = PyTuple_GET_SIZE(args)
    if n > MAX_VECTORCALL:
        return f(*args[:position], owner, *args[position:], **(kwargs or {}))
    for i in range(n):
        stack[i + 2] = PyTuple_GET_ITEM(args, i)
    for i in range(position):
        stack[i + 1] = stack[i + 2]
    stack[position + 1] = <PyObject *>owner
    if kwargs:
        return PyObject_VectorcallDict(
            f, &stack[1], (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, <PyObject *>kwargs
        )
    return PyObject_Vectorcall(f, &stack[1], (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)


# ------------------------------------------------------------------ interrupts

class _AbsorbedInterrupt(BaseException):
    """Takes the place of an interrupt that comes after the end of its job."""


# A function of the interpreter, in which it raises errors that were set from outside.
cdef object run_bytecode = eval("lambda: [None for _ in (1, 2)]")


cdef class RunningJob:
    """The job that a loop runs, one at a time.

    Attributes
    ----------
    number : int
        The number of the job; -1 while no job runs.
    thread : int
        The identifier of the thread that runs it.
    error_classes : tuple of type
        The classes of the errors that are raised in interrupted jobs, by `InterruptKind`.
    describe : callable or None
        Returns what is known about the job with a number, for `current_job`.
    details : object
        More that is known about the present job; None for plain jobs.
    """

    def __cinit__(self):
        self.number = -1
        self.error_classes = ()

    def bind(self, int signal_number=0):
        """Run the following jobs in the calling thread.

        Parameters
        ----------
        signal_number : int
            A signal whose handler raises what `take` returns; 0 if there is no such handler, or if
            the thread is not the main thread.
        """
        self.thread = PyThread_get_thread_ident()
        self.native_thread = pthread_self()
        self.signal_number = signal_number
        self.by_signal = signal_number != 0

    # Running

    def run(self, int64_t number, f, *args, **kwargs):
        """Call the function of a job in the calling thread."""
        self.begin(number)
        try:
            return f(*args, **kwargs)
        finally:
            self.end()

    def mask(self):
        """Let an interrupt of the job wait until `call`."""
        self.used = self.masked = True
        self.withdraw()

    def call(self, f, *args, **kwargs):
        """Call a function that may be interrupted, from code that may not."""
        self.masked = False
        try:
            if self.due:
                self.due = False
                raise self.error()
            return f(*args, **kwargs)
        finally:
            self.masked = True
            self.withdraw()

    # Interrupting

    def interrupt(self, int64_t number, int kind, bytes reason=b""):
        """Interrupt a job if it is running; return whether it is.

        Parameters
        ----------
        number : int
            The job.
        kind : int
            An `InterruptKind`.
        reason : bytes
            The message of the error, as UTF-8.
        """
        cdef bint is_running = self.request(
            number, kind, <const uint8_t *>PyBytes_AS_STRING(reason),
            <uint64_t>PyBytes_GET_SIZE(reason),
        )
        self.deliver()
        return is_running

    cdef bint request(
        self, int64_t number, int kind, const uint8_t *reason, uint64_t size
    ) noexcept nogil:
        """Request an interrupt of a job if it is running; return whether it is.

        The first interrupt of a job counts.
        """
        if number < 0 or number != self.number:
            return False
        if not claim_interrupt(&self.kind, kind):
            return True
        self.reason_size = min(size, <uint64_t>MAX_REASON)
        if self.reason_size:
            memcpy(self.reason, reason, self.reason_size)
        self.used = True
        interrupt_fence()
        self.due = True
        if self.by_signal:
            pthread_kill(self.native_thread, self.signal_number)
        return True

    cdef bint needs_gil(self) noexcept nogil:
        """Whether `deliver` must be called."""
        return self.due and not self.by_signal

    cdef void deliver(self) noexcept:
        """Let the interpreter raise the interrupt, where no signal does."""
        # This must call no Python code, in which another thread could end the job.
        if not self.needs_gil() or self.masked or self.number < 0:
            return
        if self.kind >= PyTuple_GET_SIZE(self.error_classes):
            return
        self.due = False
        self.is_async = True
        PyThreadState_SetAsyncExc(self.thread, PyTuple_GET_ITEM(self.error_classes, self.kind))

    def take(self):
        """Return the error to raise in the calling thread, or None."""
        if not self.due or self.masked or self.number < 0 or not self.by_signal:
            return None
        self.due = False
        return self.error()

    def error(self):
        """Return the error of the interrupt."""
        error_class = self.error_classes[self.kind]
        if self.reason_size == 0:
            return error_class()
        return error_class(
            PyUnicode_DecodeUTF8(<char *>self.reason, <Py_ssize_t>self.reason_size, "replace")
        )

    def interrupted(self, int64_t number):
        """Return the `InterruptKind` of a job that is running; 0 if it was not interrupted."""
        return self.kind if number == self.number else 0

    def has_raised(self, error):
        """Return whether the interrupt of the present job may have raised an error."""
        return (
            0 < self.kind < len(self.error_classes)
            and not self.due
            and isinstance(error, self.error_classes[self.kind])
        )

    cdef void withdraw(self) noexcept:
        """Do not raise an interrupt that the interpreter has not raised yet.

        Setting NULL instead would leave the interpreter looking for an error at each bytecode, and
        a function that is traced (`sys.settrace`) would then never begin in Python 3.11.
        """
        if not self.is_async:
            return
        self.is_async = False
        if self.thread != PyThread_get_thread_ident():
            PyThreadState_SetAsyncExc(self.thread, NULL)
            return
        try:
            PyThreadState_SetAsyncExc(self.thread, <PyObject *>_AbsorbedInterrupt)
            run_bytecode()
        except _AbsorbedInterrupt:
            pass

    cdef void reset(self) noexcept:
        """Forget the interrupt."""
        self.withdraw()
        self.used = self.masked = self.due = False
        self.kind = 0
        self.details = None
