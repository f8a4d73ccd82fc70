"""Bells that wake the ranks of a node.

MPI has no way to sleep until a message comes: one looks, sleeps, and looks again, which
either costs CPU or makes the message wait. Ranks of one node share some memory, where
each has a bell. Who is about to sleep says so there and looks a last time; who has sent
a message rings, should the receiver sleep. A bell that was not heard delays a message
until the sleep ends by itself, no more, so nothing rests on the bells but speed.

Beside its bell each rank notes the job that it begins, and the signal that it dies of. The
memory outlives the rank, so others can read there what it can no longer tell.

Linux only (futex); elsewhere nobody is given bells.
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
    static void bell_futex(uint32_t *word, int op, uint32_t value, const struct timespec *t) {
        syscall(SYS_futex, word, op, value, t, (void *)0, 0);
    }
    #define BELLS_WORK 1
    #else
    #define FUTEX_WAIT 0
    #define FUTEX_WAKE 1
    static void bell_futex(uint32_t *word, int op, uint32_t value, const struct timespec *t) {
        (void)word; (void)value;
        if (op == FUTEX_WAIT) nanosleep(t, (void *)0);
    }
    #define BELLS_WORK 0
    #endif
    static void bell_ring(bell_t *b) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* the message first, then the look */
        if (__atomic_load_n(&b->asleep, __ATOMIC_ACQUIRE)) {
            __atomic_add_fetch(&b->rung, 1, __ATOMIC_SEQ_CST);
            bell_futex(&b->rung, FUTEX_WAKE, 1, (void *)0);
        }
    }
    static uint32_t bell_lie_down(bell_t *b) {
        uint32_t seen = __atomic_load_n(&b->rung, __ATOMIC_ACQUIRE);
        __atomic_store_n(&b->asleep, 1, __ATOMIC_SEQ_CST);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);  /* so that a last look sees all sent before */
        return seen;
    }
    static int bell_sleep(bell_t *b, uint32_t seen, int64_t ns) {
        struct timespec t = {ns / 1000000000, ns % 1000000000};
        bell_futex(&b->rung, FUTEX_WAIT, seen, &t);
        return __atomic_load_n(&b->rung, __ATOMIC_ACQUIRE) != seen;
    }
    static void bell_get_up(bell_t *b) {
        __atomic_store_n(&b->asleep, 0, __ATOMIC_RELEASE);
    }
    """
    bint BELLS_WORK
    void bell_ring(bell_t *) nogil
    uint32_t bell_lie_down(bell_t *) nogil
    int bell_sleep(bell_t *, uint32_t, int64_t) nogil
    void bell_get_up(bell_t *) nogil

BYTES = sizeof(bell_t)
"""What a rank needs of the shared memory."""
AVAILABLE = BELLS_WORK
"""Whether this system has what bells are made of."""


cdef class Bells:
    """The bells of the ranks of this node, as one of them sees them.

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
            raise RuntimeError("bells are hung once")
        if rank not in ranks or not all(0 <= other < n_ranks for other in ranks):
            raise ValueError("ranks: they must be of the communicator, and hold the own one")
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
        if self.view.len < <Py_ssize_t>(len(ranks) * sizeof(bell_t)):
            raise ValueError(f"memory: {len(ranks)} bells need {BYTES} bytes each")
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

    def call(self, int rank):
        """Wake a rank, should it sleep."""
        if 0 <= rank < self.n_ranks:
            self.ring(rank)

    def doze(self, double seconds):
        """Sleep until the own bell rings; return whether it did."""
        cdef bint rung
        self.lie_down()
        with nogil:
            rung = bell_sleep(bell(self, self.own), self.seen, <int64_t>(seconds * 1e9))
        self.get_up()
        return rung

    def signal_of(self, int rank):
        """Return the number of the signal that a rank died of; 0 when it did not say."""
        if not 0 <= rank < self.n_ranks or self.slots[rank] < 0:
            return 0
        return bell(self, self.slots[rank]).signal

    cdef uint64_t *begun_place(self) noexcept nogil:
        return &bell(self, self.own).begun

    cdef uint32_t *signal_place(self) noexcept nogil:
        return &bell(self, self.own).signal

    cdef int64_t begun_by(self, int rank, uint32_t epoch) noexcept nogil:
        """The job of an epoch that a rank began last; -2: none, -1: nobody can see."""
        cdef uint64_t begun
        if not 0 <= rank < self.n_ranks or self.slots[rank] < 0:
            return -1
        begun = bell(self, self.slots[rank]).begun
        return <int64_t>(begun & <uint64_t>0xFFFFFFFF) - 1 if begun >> 32 == epoch else -2

    cdef void ring(self, int rank) noexcept nogil:
        if self.slots[rank] >= 0:
            bell_ring(bell(self, self.slots[rank]))

    cdef void ring_own(self) noexcept nogil:
        bell_ring(bell(self, self.own))

    cdef void lie_down(self) noexcept nogil:
        """Say that a sleep follows. Look a last time now for what would wake you."""
        self.seen = bell_lie_down(bell(self, self.own))

    cdef void sleep(self, int64_t ns) noexcept nogil:
        """Sleep, unless the bell rang since `lie_down`."""
        bell_sleep(bell(self, self.own), self.seen, ns)
        self.get_up()

    cdef void get_up(self) noexcept nogil:
        bell_get_up(bell(self, self.own))


cdef inline bell_t *bell(Bells bells, int slot) noexcept nogil:
    return <bell_t *>bells.view.buf + slot
