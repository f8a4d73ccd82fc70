"""Wakeup that wake the ranks of a node.

MPI has no way to sleep until a message comes: one looks, sleeps, and looks again, which
either costs CPU or makes the message wait. Ranks of one node share some memory, where
each has a slot of. Who is about to sleep says so there and looks a last time; who has sent
a message rings, should the receiver sleep. A slot of that was not heard delays a message
until the sleep ends by itself, no more, so nothing rests on the wakeup but speed.

Beside its slot of each rank notes the job that it begins, and the signal that it dies of. The
memory outlives the rank, so others can read there what it can no longer tell.

Linux only (futex); elsewhere nobody is given wakeup.
"""
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

cdef extern from *:
    """
    #ifdef __linux__
    #include <linux/futex.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static void slot_futex(uint32_t *word, int op, uint32_t value, const struct timespec *t) {
        syscall(SYS_futex, word, op, value, t, (void *)0, 0);
    }
    #define HAVE_FUTEX 1
    #else
    #define FUTEX_WAIT 0
    #define FUTEX_WAKE 1
    static void slot_futex(uint32_t *word, int op, uint32_t value, const struct timespec *t) {
        (void)word; (void)value;
        if (op == FUTEX_WAIT) nanosleep(t, (void *)0);
    }
    #define HAVE_FUTEX 0
    #endif
    static void slot_notify(wakeup_slot_t *b) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* the message first, then the look */
        if (__atomic_load_n(&b->asleep, __ATOMIC_ACQUIRE)) {
            __atomic_add_fetch(&b->notified, 1, __ATOMIC_SEQ_CST);
            slot_futex(&b->notified, FUTEX_WAKE, 1, (void *)0);
        }
    }
    static uint32_t slot_prepare_wait(wakeup_slot_t *b) {
        uint32_t seen = __atomic_load_n(&b->notified, __ATOMIC_ACQUIRE);
        __atomic_store_n(&b->asleep, 1, __ATOMIC_SEQ_CST);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* so that a last look sees all sent before */
        return seen;
    }
    static int slot_wait(wakeup_slot_t *b, uint32_t seen, int64_t ns) {
        struct timespec t = {ns / 1000000000, ns % 1000000000};
        slot_futex(&b->notified, FUTEX_WAIT, seen, &t);
        return __atomic_load_n(&b->notified, __ATOMIC_ACQUIRE) != seen;
    }
    static void slot_end_wait(wakeup_slot_t *b) {
        __atomic_store_n(&b->asleep, 0, __ATOMIC_RELEASE);
    }
    """
    bint HAVE_FUTEX
    void slot_notify(wakeup_slot_t *) nogil
    uint32_t slot_prepare_wait(wakeup_slot_t *) nogil
    int slot_wait(wakeup_slot_t *, uint32_t, int64_t) nogil
    void slot_end_wait(wakeup_slot_t *) nogil

BYTES = sizeof(wakeup_slot_t)
"""What a rank needs of the shared memory."""
AVAILABLE = HAVE_FUTEX
"""Whether this system has what wakeup are made of."""


cdef class Wakeup:
    """The wakeup of the ranks of this node, as one of them sees them.

    Parameters
    ----------
    memory : writable buffer
        The shared memory, zeros at first: BYTES for each of `ranks`.
    ranks : sequence of int
        Which ranks of the communicator are on this node.
    rank : int
        Whose view it is.
    n_ranks : int
        How many ranks the communicator has.

    Attributes
    ----------
    n_ranks : int
        As given.
    complete : bool
        Whether all ranks are on this node.
    """

    def __init__(self, memory, ranks, int rank, int n_ranks):
        cdef int i
        if self.slots != NULL:
            raise RuntimeError("wakeup are hung once")
        if rank not in ranks or not all(0 <= other < n_ranks for other in ranks):
            raise ValueError("ranks: they must be of the communicator, and hold the own one")
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
        if self.view.len < <Py_ssize_t>(len(ranks) * sizeof(wakeup_slot_t)):
            raise ValueError(f"memory: {len(ranks)} wakeup need {BYTES} bytes each")
        self.slots = <int32_t *>malloc(n_ranks * sizeof(int32_t))
        if self.slots == NULL:
            raise MemoryError()
        for i in range(n_ranks):
            self.slots[i] = -1
        for i, other in enumerate(ranks):
            self.slots[<int>other] = i
        self.own = self.slots[rank]
        self.n_ranks = n_ranks
        self.complete = len(set(ranks)) == n_ranks

    def __dealloc__(self):
        free(self.slots)
        PyBuffer_Release(&self.view)

    def notify_rank(self, int rank):
        """Wake a rank, should it sleep."""
        if 0 <= rank < self.n_ranks:
            self.notify(rank)

    def wait(self, double seconds):
        """Sleep until the own slot of rings; return whether it did."""
        cdef bint notified
        self.prepare_wait()
        with nogil:
            notified = slot_wait(slot_of(self, self.own), self.seen, <int64_t>(seconds * 1e9))
        self.end_wait()
        return notified

    def signal_of(self, int rank):
        """Return the number of the signal that a rank died of; 0 when it did not say."""
        if not 0 <= rank < self.n_ranks or self.slots[rank] < 0:
            return 0
        return slot_of(self, self.slots[rank]).signal

    cdef uint64_t *begun_slot(self) noexcept nogil:
        return &slot_of(self, self.own).begun

    cdef uint32_t *signal_slot(self) noexcept nogil:
        return &slot_of(self, self.own).signal

    cdef int64_t begun_by(self, int rank, uint32_t run_id) noexcept nogil:
        """The job of an run id that a rank began last; -2: none, -1: nobody can see."""
        cdef uint64_t begun
        if not 0 <= rank < self.n_ranks or self.slots[rank] < 0:
            return -1
        begun = slot_of(self, self.slots[rank]).begun
        return <int64_t>(begun & <uint64_t>0xFFFFFFFF) - 1 if begun >> 32 == run_id else -2

    cdef void notify(self, int rank) noexcept nogil:
        if self.slots[rank] >= 0:
            slot_notify(slot_of(self, self.slots[rank]))

    cdef void notify_self(self) noexcept nogil:
        slot_notify(slot_of(self, self.own))

    cdef void prepare_wait(self) noexcept nogil:
        """Say that a sleep follows. Look a last time now for what would wake you."""
        self.seen = slot_prepare_wait(slot_of(self, self.own))

    cdef void sleep(self, int64_t ns) noexcept nogil:
        """Sleep, unless the slot of rang since `prepare_wait`."""
        slot_wait(slot_of(self, self.own), self.seen, ns)
        self.end_wait()

    cdef void end_wait(self) noexcept nogil:
        slot_end_wait(slot_of(self, self.own))


cdef inline wakeup_slot_t *slot_of(Wakeup wakeup, int slot) noexcept nogil:
    return <wakeup_slot_t *>wakeup.view.buf + slot
