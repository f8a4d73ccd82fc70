"""The lock of all nodes: a queue of nodes in MPI windows.

The queue is that of Mellor-Crummey and Scott (ACM TOCS 9, 1991, doi:10.1145/103727.103729) with the
atomic operations of MPI. The window of the master holds the last place in the queue, and the number
of nodes that read. Each rank has two words of its own: the place that follows its own, and whether
it must wait. A writer stays at the head of the queue while it writes, a reader only until it is
counted.

A place has a number that is not used again. All changes of a word are conditional on such a number,
so a change that was made already can be repeated: if a process dies, another one of its node goes
on at the stage that the page of the node records. Changes of the number of readers are exceptions:
if a process dies within the microsecond of such an operation, it may be unknown whether the
operation took effect. Then a reader too many may be counted, and writers of other nodes wait until
the launcher ends them.

No thread polls. A window of `Win.Allocate` is accessed through shared memory or by the network
adapter where the MPI library supports that; else operations complete when the target calls MPI.

This module is compiled so that signal handlers run only where it calls PyErr_CheckSignals: a rank
that left the queue anywhere else would block all ranks behind it.
"""
from bsbpool._core.comm.backoff cimport now_ns, set_timer_slack, sleep_ns
from bsbpool._core.locking.node_lock cimport NodeLock
from bsbpool._core.locking.shared_page cimport (
    COUNTING,
    ENTERING,
    GIVING_READ,
    GIVING_WRITE,
    OUTSIDE,
    PASSING,
    QUEUED,
    lock_head_t,
    lock_pause,
)
from bsbpool._core.locking.window_words cimport WindowWords, load_word

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    # The words of a window; STATE is used in the master's only.
    STATE = 0  # the last place in the queue, and the number of nodes that read
    FOLLOWING = 1  # the place after that of this rank; its own, negative, if there is none
    MUST_WAIT = 2  # the place of this rank while it waits; then one of the next two
    AFTER_WRITER = 0
    AFTER_READER = -1
    WORDS = 4

    # A place has the rank + 1 in its low bits, and a counter above.
    RANK_BITS = 20
    READER_BITS = 16
    PLACES = (1 << 26) - 1  # of each rank, before a number is used again

    POLLS = 20  # of the own words, between two calls of MPI
    POLL_NS = 20_000  # how long a rank polls before it sleeps, where there is a core for each
    LINK_POLLS = 200
    LONGEST_SLEEP_NS = 1_000_000
    LINK_NS = 1_000_000_000  # how long a rank that runs needs at most between two operations


cdef class GlobalQueue(WindowWords):
    """The queue, as one rank sees it. Collective to make.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator of all ranks.
    master : int
        The rank in whose window the end of the queue and the number of readers are.
    polls : bool
        Whether to poll for some microseconds before sleeping: there is a core for each rank.
    mpi : module, optional
        Has the names of `mpi4py.MPI` that the queue uses; for tests.

    Raises
    ------
    ValueError
        If there are more ranks than the queue can count.
    """

    def __init__(self, comm, int master, bint polls=False, mpi=None):
        cdef int size = comm.Get_size()
        if size >= 1 << READER_BITS:
            raise ValueError(
                f"comm: the communicator has {size} ranks; the lock of several nodes allows at "
                f"most {(1 << READER_BITS) - 1}. Set BSBPOOL_LOCK=mpilock"
            )
        super().__init__(comm, WORDS, mpi)
        self.master, self.polls = master, polls

    cpdef acquire(self, NodeLock node, bint write):
        """Wait for the global lock. This process has exclusive access to its node.

        Raises
        ------
        BaseException
            An error of a signal handler, such as KeyboardInterrupt, once the node had its turn: it
            cannot leave the queue before. The lock is then given back.
        """
        cdef lock_head_t *head = node.page.head
        if node.begin_to_give_back():
            self.give_back(node)
        elif head.stage != OUTSIDE:
            self.resume(node)
        if head.stage == OUTSIDE:
            self.enter(head)
        error = self.wait_for_turn(head.place)
        if error is None and write and self.after_reader:
            error = self.wait_for_readers()
        if error is not None:
            self.leave(head)
            raise error
        if not write:
            head.stage = COUNTING
            if self.count_reader(head.place):
                head.stage = PASSING
                self.pass_on(head.place, AFTER_READER)
        node.take_global(write)

    cpdef give_back(self, NodeLock node):
        """Give the global lock back, after `begin_to_give_back` of the node."""
        cdef lock_head_t *head = node.page.head
        if head.stage == GIVING_WRITE:
            self.pass_on(head.place, AFTER_WRITER)
        else:
            self.fetch(self.master, STATE, -1, self.plus)
        head.stage = OUTSIDE

    cpdef bint give_up(self, NodeLock node) except -1:
        """Give back what a dead process of this node had; return False before its turn."""
        cdef lock_head_t *head = node.page.head
        if node.begin_to_give_back():
            self.give_back(node)
        elif head.stage != OUTSIDE:
            self.resume(node)
        if head.stage == QUEUED:
            if self.get(rank_of(head.place), MUST_WAIT) == head.place:
                return False
            self.after_reader = True  # unknown
            self.leave(head)
        return True

    cdef int leave(self, lock_head_t *head) except -1:
        """Leave the head of the queue without having had the lock."""
        head.stage = GIVING_WRITE
        self.pass_on(head.place, AFTER_READER if self.after_reader else AFTER_WRITER)
        head.stage = OUTSIDE
        return 0

    cdef int resume(self, NodeLock node) except -1:
        """Go on where a process of this node has died; the next stage is OUTSIDE or QUEUED."""
        cdef lock_head_t *head = node.page.head
        if head.stage == ENTERING:
            if self.is_queued(head):
                self.after_reader = True  # unknown
                self.link(head)
                head.stage = QUEUED
            else:
                head.stage = OUTSIDE
        elif head.stage == COUNTING:
            # A reader that was the last in the queue leaves it in the operation that counts it.
            head.stage = QUEUED if self.is_queued(head) else GIVING_READ
        elif head.stage == PASSING:
            self.pass_on(head.place, AFTER_READER)
            head.stage = GIVING_READ
        elif head.stage == GIVING_READ:
            head.stage = OUTSIDE  # was probably subtracted; twice would admit a writer too early
        if head.stage == GIVING_READ:
            self.give_back(node)
        elif head.stage == GIVING_WRITE:
            self.after_reader = True  # unknown
            self.leave(head)
        return 0

    # The queue

    cdef int enter(self, lock_head_t *head) except -1:
        """Become the last in the queue."""
        cdef int64_t expected = self.last_state
        cdef int64_t seen
        self.n_places += 1
        head.place = (self.n_places & PLACES) << RANK_BITS | (self.rank + 1)
        self.set_own(FOLLOWING, -head.place)
        self.set_own(MUST_WAIT, head.place)
        while True:
            head.before = expected >> READER_BITS
            head.stage = ENTERING
            seen = self.replace(
                self.master,
                STATE,
                expected,
                head.place << READER_BITS | n_readers_of(expected),
            )
            if seen == expected:
                break
            expected = seen
        self.last_state = expected
        self.after_reader = n_readers_of(expected) != 0
        self.link(head)
        head.stage = QUEUED
        return 0

    cdef int link(self, lock_head_t *head) except -1:
        """Tell the place before that this one follows."""
        if head.before:
            self.replace(rank_of(head.before), FOLLOWING, -head.before, head.place)
        elif rank_of(head.place) == self.rank:
            self.set_own(MUST_WAIT, AFTER_READER if self.after_reader else AFTER_WRITER)
        else:
            self.replace(rank_of(head.place), MUST_WAIT, head.place, AFTER_READER)
        return 0

    cdef bint is_queued(self, lock_head_t *head) except? -1:
        """Whether the place of a process that died is in the queue."""
        cdef int64_t last = self.get(self.master, STATE) >> READER_BITS
        if last == head.place:
            return True
        if last == 0 or (head.stage == ENTERING and last == head.before):
            return False
        # Another place is the last. The one that follows the place, if any, tells it soon.
        return self.next_place(head.place, LINK_NS) != 0

    cdef int64_t next_place(self, int64_t place, int64_t longest_ns) except -1:
        """Wait for the place that follows; 0 if none does."""
        cdef int64_t begun = now_ns()
        cdef int64_t following
        cdef int n = 0
        while True:
            following = self.get(rank_of(place), FOLLOWING)
            if following > 0:
                return following
            if longest_ns and now_ns() - begun > longest_ns:
                return 0
            self.iprobe()
            n += 1
            if n > LINK_POLLS or not self.polls:
                with nogil:
                    sleep_ns(1_000)

    cdef int pass_on(self, int64_t place, int64_t how) except -1:
        """Let the place that follows have its turn."""
        cdef int64_t following = self.get(rank_of(place), FOLLOWING)
        cdef int64_t seen, expected
        if following <= 0:
            expected = place << READER_BITS
            if how == AFTER_READER:
                expected = self.get(self.master, STATE)
            while expected >> READER_BITS == place:
                seen = self.replace(
                    self.master, STATE, expected, n_readers_of(expected)
                )
                if seen == expected:
                    self.last_state = n_readers_of(expected)
                    return 0  # the queue is empty
                expected = seen
            if expected == 0:
                return 0  # this node has passed on before, and the queue is empty
            # Another rank is between two operations, unless this node has passed on before.
            following = self.next_place(place, 0 if rank_of(place) == self.rank else LINK_NS)
            if following == 0:
                return 0
        self.replace(rank_of(following), MUST_WAIT, following, how)
        return 0

    cdef bint count_reader(self, int64_t place) except -1:
        """Count one more reader; return whether another place follows."""
        cdef int64_t expected = place << READER_BITS | n_readers_of(self.last_state)
        cdef int64_t last, seen
        while True:
            last = expected >> READER_BITS
            if last == place:
                last = 0  # the queue is empty
            seen = self.replace(
                self.master, STATE, expected, last << READER_BITS | (n_readers_of(expected) + 1)
            )
            if seen == expected:
                self.last_state = last << READER_BITS | (n_readers_of(expected) + 1)
                return last != 0
            expected = seen

    # Waiting

    cdef object wait_for_turn(self, int64_t place):
        """Wait for the head of the queue; return an error of a signal handler."""
        cdef int64_t word = self.get(rank_of(place), MUST_WAIT)
        cdef int64_t begun, now
        cdef int slack
        error = None
        if word == place:
            begun = now_ns()
            slack = set_timer_slack(1)
            while word == place:
                now = now_ns()
                if rank_of(place) == self.rank and self.is_direct:
                    with nogil:
                        self.pause(word, now - begun)
                    self.iprobe()
                elif now - begun > POLL_NS:
                    with nogil:
                        sleep_ns(pause_ns(now - begun))
                word = self.get(rank_of(place), MUST_WAIT)
                error = raised_by_signal() or error
            set_timer_slack(<unsigned long>slack)
        self.after_reader = word == AFTER_READER
        return error

    cdef void pause(self, int64_t word, int64_t waited) noexcept nogil:
        """Poll the own word for a moment, or sleep."""
        if not self.polls or waited > POLL_NS:
            sleep_ns(pause_ns(waited))
            return
        for _ in range(POLLS):
            if load_word(&self.words[MUST_WAIT]) != word:
                return
            lock_pause()

    cdef object wait_for_readers(self):
        """Wait until no node reads; return an error of a signal handler, at once."""
        cdef int64_t begun = now_ns()
        cdef int slack = set_timer_slack(1)
        error = None
        while error is None and n_readers_of(self.get(self.master, STATE)):
            if not self.polls or now_ns() - begun > POLL_NS:
                with nogil:
                    sleep_ns(pause_ns(now_ns() - begun))
            self.iprobe()
            error = raised_by_signal()
        set_timer_slack(<unsigned long>slack)
        if error is None:
            self.after_reader = False
        return error


cdef inline int rank_of(int64_t place) noexcept nogil:
    return <int>(place & ((1 << RANK_BITS) - 1)) - 1


cdef inline int64_t n_readers_of(int64_t state) noexcept nogil:
    return state & ((1 << READER_BITS) - 1)


cdef inline int64_t pause_ns(int64_t waited) noexcept nogil:
    """Return how long to sleep: an eighth of the wait so far."""
    return min(max(waited >> 3, <int64_t>1_000), <int64_t>LONGEST_SLEEP_NS)


cdef object raised_by_signal():
    """Run the signal handlers; return the error that one of them raised."""
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        return error
    return None
