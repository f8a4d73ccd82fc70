"""A reader-writer lock for the processes of a node, in memory that they share.

A free lock is taken and released with a few atomic instructions: no system call and no MPI. A
process that must wait sleeps in the kernel until the process before it passes the lock on.
"""
from bsbpool._core.comm.backoff cimport now_ns, set_timer_slack
from bsbpool._core.locking.rules cimport (
    abandon as page_abandon,
    admit,
    begin_to_give_back as page_begin_to_give_back,
    count,
    end_give_back as page_end_give_back,
    is_left_over,
    is_waiting,
    leave,
    request as page_request,
    take_global as page_take_global,
    withdraw,
)
from bsbpool._core.locking.shared_page cimport (
    GIVING_BACK,
    HAVE_LOCK_FUTEX,
    IDLE,
    MUTEX_CHECK_NS,
    MUTEX_CONTENDED,
    READING,
    TAKING_READ,
    WAITING_TO_READ,
    WAITING_TO_WRITE,
    WRITING,
    lock_exchange,
    lock_head_t,
    lock_load,
    lock_pause,
    lock_replace,
    lock_slot_t,
    lock_wait,
    lock_wake,
    page_t,
)
from bsbpool._core.processes cimport process_is_gone
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint32_t

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    SPINS = 100
    POLLS = 20  # between two looks at the clock
    POLL_NS = 20_000  # how long a process polls before it sleeps
    WAIT_NS = 50_000_000  # how long to wait before looking whether the processes still run
    SLICE_NS = 1_000_000  # how long to sleep while MPI must progress

AVAILABLE = HAVE_LOCK_FUTEX
"""Whether this system has what the lock needs (Linux)."""
HEAD_BYTES = sizeof(lock_head_t)
SLOT_BYTES = sizeof(lock_slot_t)
NAMES = {
    IDLE: "idle", WAITING_TO_READ: "waits to read", WAITING_TO_WRITE: "waits to write",
    READING: "reads", WRITING: "writes", TAKING_READ: "waits to read",
    GIVING_BACK: "passes the lock on",
}


cdef void lock_mutex(page_t *p) noexcept nogil:
    cdef uint32_t me = p.own + 1
    cdef uint32_t seen
    cdef int pid
    for _ in range(SPINS):
        if lock_load(&p.head.mutex) == 0 and lock_replace(&p.head.mutex, 0, me):
            return
    while True:
        seen = lock_load(&p.head.mutex)
        if seen == 0:
            if lock_replace(&p.head.mutex, 0, me | <uint32_t>MUTEX_CONTENDED):
                return
            continue
        if not seen & <uint32_t>MUTEX_CONTENDED:
            if not lock_replace(&p.head.mutex, seen, seen | <uint32_t>MUTEX_CONTENDED):
                continue
            seen |= <uint32_t>MUTEX_CONTENDED
        lock_wait(&p.head.mutex, seen, MUTEX_CHECK_NS)
        pid = p.slots[(seen & ~<uint32_t>MUTEX_CONTENDED) - 1].pid
        if lock_load(&p.head.mutex) == seen and pid and process_is_gone(pid):
            if lock_replace(&p.head.mutex, seen, me | <uint32_t>MUTEX_CONTENDED):
                count(p)  # the process died between two changes
                admit(p)
                return


cdef void unlock_mutex(page_t *p) noexcept nogil:
    if lock_exchange(&p.head.mutex, 0) & <uint32_t>MUTEX_CONTENDED:
        lock_wake(&p.head.mutex)


cdef class NodeLock:
    """The lock, as one of the processes sees it.

    Parameters
    ----------
    memory : writable buffer
        Shared memory, zeros at first: HEAD_BYTES, and SLOT_BYTES for each process.
    slot : int
        The number of this process among those of the node, from 0.
    n_slots : int
        The number of processes.
    pid : int
        The process id of this process; 0 if the others cannot look it up.
    two_level : bool
        Whether processes of other nodes compete for the lock.
    polls : bool
        Whether to poll for some microseconds before sleeping: there is a core for each process.
    """

    def __init__(
        self, memory, int slot, int n_slots, int pid, bint two_level=False, bint polls=False
    ):
        if self.view.buf != NULL:
            raise RuntimeError("NodeLock.__init__ was called twice")
        if not 0 <= slot < n_slots:
            raise ValueError(f"slot: {slot} is not one of {n_slots} slots")
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
        if self.view.len < <Py_ssize_t>(HEAD_BYTES + n_slots * SLOT_BYTES):
            raise ValueError(
                f"memory: {self.view.len} bytes are too few; a lock of {n_slots} processes needs "
                f"{HEAD_BYTES + n_slots * SLOT_BYTES}"
            )
        self.page.head = <lock_head_t *>self.view.buf
        self.page.slots = <lock_slot_t *>(<char *>self.view.buf + sizeof(lock_head_t))
        self.page.n_slots = n_slots
        self.page.own = slot
        self.page.slots[slot].pid = pid
        self.polls = polls
        if two_level:
            self.page.head.two_level = True

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    cdef uint32_t sleep(self, int64_t ns) noexcept nogil:
        """Sleep until a request is granted, at most `ns`; return the state."""
        cdef uint32_t *word = &self.page.slots[self.page.own].state
        cdef uint32_t state = lock_load(word)
        if is_waiting(state):
            lock_wait(word, state, ns)
            state = lock_load(word)
        return state

    cdef uint32_t poll(self) noexcept nogil:
        """Poll for a short time whether a request is granted; return the state."""
        cdef uint32_t *word = &self.page.slots[self.page.own].state
        cdef uint32_t state = lock_load(word)
        cdef int64_t end = now_ns() + POLL_NS
        while is_waiting(state) and now_ns() < end:
            for _ in range(POLLS):
                lock_pause()
            state = lock_load(word)
        return state

    cpdef bint request(self, bint write) except -1:
        """Ask for access; return whether it was granted at once. Else `wait` must follow.

        Raises
        ------
        RuntimeError
            If this process has access or waits for it: another of its threads uses the lock.
        """
        cdef uint32_t state
        cdef bint is_idle
        lock_mutex(&self.page)
        is_idle = self.page.slots[self.page.own].state == IDLE
        if is_idle:
            state = page_request(&self.page, WAITING_TO_WRITE if write else WAITING_TO_READ)
        unlock_mutex(&self.page)
        if not is_idle:
            raise RuntimeError("Two threads of a rank cannot use one lock at the same time")
        return not is_waiting(state)

    cpdef list wait(self, progress=None):
        """Wait until a request is granted.

        Parameters
        ----------
        progress : callable, optional
            Called each millisecond, so that MPI progresses meanwhile.

        Returns
        -------
        list of int
            The slots of processes that have died while they had access.

        Raises
        ------
        BaseException
            An error of a signal handler, such as KeyboardInterrupt. The request is then withdrawn,
            unless it was granted at that moment; `holds` tells.
        """
        cdef uint32_t state = lock_load(&self.page.slots[self.page.own].state)
        cdef int64_t slice_ns = WAIT_NS if progress is None else SLICE_NS
        cdef int64_t next_check
        cdef int slack
        dead = []
        if self.polls and is_waiting(state):
            with nogil:
                state = self.poll()
        if not is_waiting(state):
            return dead
        slack = set_timer_slack(1)
        next_check = now_ns() + WAIT_NS
        try:
            while is_waiting(state):
                with nogil:
                    state = self.sleep(slice_ns)
                if not is_waiting(state):
                    break
                PyErr_CheckSignals()
                if progress is not None:
                    progress()
                if now_ns() >= next_check:
                    dead += self.find_dead()
                    next_check = now_ns() + WAIT_NS
                    state = lock_load(&self.page.slots[self.page.own].state)
        except BaseException:
            self.cancel()
            raise
        finally:
            set_timer_slack(<unsigned long>slack)
        return dead

    @property
    def holds(self):
        """Whether this process has access."""
        return self.has_access()

    cdef bint has_access(self) noexcept nogil:
        cdef uint32_t state = lock_load(&self.page.slots[self.page.own].state)
        return state != IDLE and not is_waiting(state)

    cpdef bint cancel(self) noexcept:
        """End a request; return whether it had been granted, so that `release` must follow."""
        cdef bint waits
        with nogil:
            lock_mutex(&self.page)
            waits = is_waiting(self.page.slots[self.page.own].state)
            if waits:
                withdraw(&self.page)
            unlock_mutex(&self.page)
        return not waits

    cpdef bint release(self) noexcept:
        """Release the lock; return whether this process must give the global lock back.

        It then gives it back and calls `end_give_back`.
        """
        cdef bint gives_back
        lock_mutex(&self.page)
        gives_back = leave(&self.page)
        unlock_mutex(&self.page)
        return gives_back

    cpdef list find_dead(self):
        """Free the slots of processes that have died; return those that had access."""
        cdef int i
        found = []
        with nogil:  # takes over the mutex of a process that has died
            lock_mutex(&self.page)
            unlock_mutex(&self.page)
        for i in range(self.page.n_slots):
            if self.page.slots[i].state != IDLE and self.page.slots[i].pid:
                if process_is_gone(self.page.slots[i].pid) and self.abandon(i):
                    found.append(i)
        return found

    cpdef bint abandon(self, int slot) noexcept:
        """Free the slot of a process that has died; return whether it had access."""
        cdef bint had
        lock_mutex(&self.page)
        had = page_abandon(&self.page, slot)
        unlock_mutex(&self.page)
        return had

    # The lock of all nodes

    @property
    def needs_global(self):
        """Whether this process must take the global lock before it uses its access."""
        return self.must_take_global()

    cdef bint must_take_global(self) noexcept nogil:
        cdef uint32_t state = self.page.slots[self.page.own].state
        if not self.page.head.two_level:
            return False
        return state == TAKING_READ or (state == WRITING and self.page.head.global_mode != WRITING)

    @property
    def global_mode(self):
        """The access that this node has: "" (none), "read" or "write"."""
        return {READING: "read", WRITING: "write"}.get(self.page.head.global_mode, "")

    @property
    def left_over(self):
        """Whether a process has died that was the last one with the global lock or in its queue."""
        return self.page.head.two_level and is_left_over(self.page.head)

    cpdef void take_global(self, bint write) noexcept:
        """Note that this node has the global lock."""
        lock_mutex(&self.page)
        page_take_global(&self.page, WRITING if write else READING)
        unlock_mutex(&self.page)

    cpdef bint begin_to_give_back(self) noexcept:
        """Note that this node gives the global lock back; return whether it had the lock."""
        cdef bint had
        lock_mutex(&self.page)
        had = self.page.head.global_mode != IDLE
        if had:
            page_begin_to_give_back(self.page.head)
        unlock_mutex(&self.page)
        return had

    cpdef void end_give_back(self) noexcept:
        """Note that this node has given the global lock back."""
        lock_mutex(&self.page)
        page_end_give_back(&self.page)
        unlock_mutex(&self.page)

    # What others see

    def states(self):
        """Return for each process its slot, what it does, and for how many seconds."""
        cdef int64_t now = now_ns()
        cdef int i
        return [
            (i, NAMES[self.page.slots[i].state], (now - self.page.slots[i].since_ns) / 1e9)
            for i in range(self.page.n_slots)
            if self.page.slots[i].state != IDLE
        ]

    def counters(self):
        """Return the counters of the head, for tests: each can be computed from the states."""
        head = self.page.head
        return head.writer, head.n_readers, head.waiting_writers, head.waiting_readers
