"""Waking the ranks of a node from sleep.

MPI has no way to sleep until a message arrives. A rank has to poll, sleep and poll again, which
either uses CPU time or delays the message. So the ranks of one node share some memory, in which
each has a slot. Before a rank sleeps, it sets `asleep` in its slot, polls once more, and only then
waits on a futex in the slot. A rank that has sent a message wakes the receiver if that is asleep. A
missed wakeup only delays the message: the sleep ends by itself a little later.

In its slot a rank also notes the job that it begins, and the signal that kills it. The memory
outlives the rank, so other ranks can read these after it has failed.

Linux only: other systems have no futex, and ranks get no wakeups there.
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
    static void slot_notify(wakeup_slot_t *slot) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* the message is sent before this reads */
        if (__atomic_load_n(&slot->asleep, __ATOMIC_ACQUIRE)) {
            __atomic_add_fetch(&slot->notified, 1, __ATOMIC_SEQ_CST);
            slot_futex(&slot->notified, FUTEX_WAKE, 1, (void *)0);
        }
    }
    static uint32_t slot_prepare_wait(wakeup_slot_t *slot) {
        uint32_t seen = __atomic_load_n(&slot->notified, __ATOMIC_ACQUIRE);
        __atomic_store_n(&slot->asleep, 1, __ATOMIC_SEQ_CST);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* a poll after this finds what was sent before */
        return seen;
    }
    static int slot_wait(wakeup_slot_t *slot, uint32_t seen, int64_t ns) {
        struct timespec t = {ns / 1000000000, ns % 1000000000};
        slot_futex(&slot->notified, FUTEX_WAIT, seen, &t);
        return __atomic_load_n(&slot->notified, __ATOMIC_ACQUIRE) != seen;
    }
    static void slot_end_wait(wakeup_slot_t *slot) {
        __atomic_store_n(&slot->asleep, 0, __ATOMIC_RELEASE);
    }
    """
    bint HAVE_FUTEX
    void slot_notify(wakeup_slot_t *) nogil
    uint32_t slot_prepare_wait(wakeup_slot_t *) nogil
    int slot_wait(wakeup_slot_t *, uint32_t, int64_t) nogil
    void slot_end_wait(wakeup_slot_t *) nogil

BYTES = sizeof(wakeup_slot_t)
"""The bytes of shared memory for each rank."""
AVAILABLE = HAVE_FUTEX
"""Whether this system has futexes."""


cdef class Wakeup:
    """The slots of all ranks of this node, as seen by one of them.

    Parameters
    ----------
    memory : writable buffer
        Shared memory of BYTES bytes for each of `ranks`, initially zero.
    ranks : sequence of int
        The ranks of the communicator that are on this node.
    rank : int
        The rank of this process.
    n_ranks : int
        The size of the communicator.

    Attributes
    ----------
    n_ranks : int
        As given.
    complete : bool
        Whether all ranks of the communicator are on this node.
    """

    def __init__(self, memory, ranks, int rank, int n_ranks):
        cdef int i
        if self.slots != NULL:
            raise RuntimeError("a Wakeup can be initialized only once")
        if rank not in ranks or not all(0 <= other < n_ranks for other in ranks):
            raise ValueError(
                f"ranks must include rank {rank} and lie between 0 and {n_ranks - 1}, got "
                f"{list(ranks)}"
            )
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
        if self.view.len < <Py_ssize_t>(len(ranks) * sizeof(wakeup_slot_t)):
            raise ValueError(
                f"memory must have {BYTES} bytes for each of {len(ranks)} ranks, got "
                f"{self.view.len} bytes"
            )
        # One more, for the worker of the main rank, which a `LocalLink` wakes.
        self.slots = <int32_t *>malloc((n_ranks + 1) * sizeof(int32_t))
        if self.slots == NULL:
            raise MemoryError()
        for i in range(n_ranks + 1):
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
        """Wake a rank if it is asleep."""
        if 0 <= rank < self.n_ranks:
            self.notify(rank)

    def wait(self, double seconds):
        """Sleep until this rank is notified; return False if it was not within `seconds`."""
        cdef bint notified
        self.prepare_wait()
        with nogil:
            notified = slot_wait(slot_of(self, self.own), self.seen, <int64_t>(seconds * 1e9))
        self.end_wait()
        return notified

    def signal_of(self, int rank):
        """Return the number of the signal that killed a rank, 0 if it noted none."""
        if not 0 <= rank < self.n_ranks or self.slots[rank] < 0:
            return 0
        return slot_of(self, self.slots[rank]).signal

    cdef uint64_t *begun_slot(self) noexcept nogil:
        """Return where this rank notes the job that it begins."""
        return &slot_of(self, self.own).begun

    cdef uint32_t *signal_slot(self) noexcept nogil:
        """Return where this rank notes the signal that kills it."""
        return &slot_of(self, self.own).signal

    cdef int64_t begun_by(self, int rank, uint32_t run_id) noexcept nogil:
        """Return the job of a run that a rank began last; -2 for none, -1 if unknown."""
        cdef uint64_t begun
        if not 0 <= rank < self.n_ranks or self.slots[rank] < 0:
            return -1
        begun = slot_of(self, self.slots[rank]).begun
        return <int64_t>(begun & <uint64_t>0xFFFFFFFF) - 1 if begun >> 32 == run_id else -2

    cdef void notify(self, int rank) noexcept nogil:
        """Wake a rank of the communicator if it is on this node and asleep."""
        if self.slots[rank] >= 0:
            slot_notify(slot_of(self, self.slots[rank]))

    cdef void notify_self(self) noexcept nogil:
        """Wake this rank if it is asleep, from another thread."""
        slot_notify(slot_of(self, self.own))

    cdef void prepare_wait(self) noexcept nogil:
        """Announce a sleep. The caller must then poll once more, and `sleep` or `end_wait`."""
        self.seen = slot_prepare_wait(slot_of(self, self.own))

    cdef void sleep(self, int64_t ns) noexcept nogil:
        """Sleep, unless this rank was notified since `prepare_wait`."""
        slot_wait(slot_of(self, self.own), self.seen, ns)
        self.end_wait()

    cdef void end_wait(self) noexcept nogil:
        slot_end_wait(slot_of(self, self.own))


cdef inline wakeup_slot_t *slot_of(Wakeup wakeup, int slot) noexcept nogil:
    return <wakeup_slot_t *>wakeup.view.buf + slot
