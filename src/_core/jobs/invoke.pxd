from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t

cpdef enum InterruptKind:
    CANCEL_INTERRUPT = 1  # the job was cancelled
    TIMEOUT_INTERRUPT = 2  # the time of the job is over
    RUN_ENDED_INTERRUPT = 3  # the run has ended

cdef enum:
    MAX_REASON = 256  # bytes of a reason that the job's error has

cdef class RunningJob:
    cdef readonly int64_t number  # the job that the thread runs; -1: none
    cdef bint used  # whether `end` has something to reset
    cdef bint masked  # whether an interrupt waits until `call`
    cdef volatile int kind  # the InterruptKind of the job; 0: it was not interrupted
    cdef volatile bint due  # whether the interrupt has not been raised yet
    cdef bint is_async  # whether the interpreter was asked to raise it
    cdef bint by_signal  # whether a signal makes the thread raise it
    cdef int signal_number
    cdef pthread_t native_thread
    cdef readonly unsigned long thread
    cdef public tuple error_classes
    cdef public object describe
    cdef public object details
    cdef uint8_t[MAX_REASON] reason
    cdef uint64_t reason_size

    cdef inline void begin(self, int64_t number) noexcept nogil:
        """Note that a job begins."""
        self.number = number

    cdef inline void begin_masked(self, int64_t number) noexcept nogil:
        """Note that a job begins that is interrupted only inside of `call`."""
        self.used = self.masked = True
        self.number = number

    cdef inline void end(self) noexcept:
        """Note that the job has ended: its interrupt is not raised any more."""
        self.number = -1
        if self.used:
            self.reset()

    cdef bint request(
        self, int64_t number, int kind, const uint8_t *reason, uint64_t size
    ) noexcept nogil
    cdef bint needs_gil(self) noexcept nogil
    cdef void deliver(self) noexcept
    cdef void withdraw(self) noexcept
    cdef void reset(self) noexcept

cdef class CallDepth:
    cdef public int inside_job

cdef object call(object f, object owner, tuple args, object kwargs, Py_ssize_t position)
