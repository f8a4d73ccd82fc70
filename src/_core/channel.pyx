"""One transport, many pools, and perhaps two threads: taking turns at it, and waiting for it.

`epochs` sorts the messages by pool; `roster` remembers who cannot be counted on.
"""
from bsbpool._core.bells cimport Bells
from bsbpool._core.epochs cimport (
    FAREWELL,
    epoch_of,
    epochs_close,
    epochs_free,
    epochs_init,
    epochs_open,
    is_closed,
    stash,
    unstash,
)
from bsbpool._core.frames cimport FrameWriter
from bsbpool._core.pause cimport (
    LOOKS,
    now_ns,
    pause_longer,
    pause_reset,
    pause_sleep,
)
from bsbpool._core.roster cimport Roster
from bsbpool._core.transport cimport Transport, message_free, message_t
from bsbpool._core.wire cimport (
    LEAVE,
    MISSING,
    cursor_next,
    cursor_open,
    cursor_t,
    record_t,
)
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)

cdef enum:
    SPINS = 50
    MOVING_NS = 8_000
    BELL_NS = 3_000_000  # a bell that was missed costs no more


class TransportError(RuntimeError):
    """The network between the ranks failed."""


cdef class Channel:
    """The messages of one communicator.

    Parameters
    ----------
    transport : Transport
        The network; the channel is its only user.
    crowded : bool
        Whether ranks share cores, so that spinning would take a core from one
        that has work.
    bells : Bells, optional
        What wakes ranks of this node.

    Attributes
    ----------
    lost : set of int
        Ranks that have died.
    away : set of int
        Ranks that are inside a job whose run has ended.
    departed : set of int
        Those of the lost that end by themselves.
    """

    def __cinit__(self, Transport transport not None, bint crowded=False, Bells bells=None):
        self.transport = transport
        self.bells = bells
        self.table = &transport.table
        pthread_mutex_init(&self.mutex, NULL)
        epochs_init(&self.epochs)
        self.roster = Roster()
        self.pause.spins = 0 if crowded else SPINS
        pause_reset(&self.pause)

    def __dealloc__(self):
        epochs_free(&self.epochs)
        pthread_mutex_destroy(&self.mutex)

    def open(self):
        """Begin an epoch; return its number. All ranks open them in the same order.

        Raises
        ------
        RuntimeError
            While another thread executes a pool: the ranks could not agree on the order.
        """
        if self.occupied and self.occupant != PyThread_get_thread_ident():
            self.refuse()
        cdef uint32_t epoch = self.epochs.next
        pthread_mutex_lock(&self.mutex)
        cdef int code = epochs_open(&self.epochs)
        pthread_mutex_unlock(&self.mutex)
        if code < 0:
            raise MemoryError()
        return epoch

    def close(self, uint32_t epoch):
        """End an epoch: what arrived or arrives for it is dropped."""
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        epochs_close(&self.epochs, epoch)
        while True:
            m = unstash(&self.epochs, epoch)
            if m == NULL:
                break
            self.drop(m)
        pthread_mutex_unlock(&self.mutex)
        if not self.occupied:
            # A pool that is never executed has no loop that would do this.
            self.skim()
            self.reap()

    def drain(self, double seconds):
        """Wait until all that was sent has left, at most `seconds`; return whether it has."""
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while self.pending() and self.now() < end:
            with nogil:
                self.skim()
                self.nap()
            self.reap()
            self.next_lost()  # what was on its way to it will not leave
        pause_reset(&self.pause)
        return self.pending() == 0

    def sweep(self):
        """Drop what has arrived for epochs that have ended."""
        self.skim()
        self.check()

    # Who is there

    @property
    def lost(self):
        return self.roster.lost

    @property
    def away(self):
        return self.roster.away

    @property
    def departed(self):
        return self.roster.departed

    def leave_behind(self, int rank, uint32_t epoch):
        """Note that a rank is inside a job of an epoch whose run has ended."""
        self.roster.leave_behind(rank, epoch)

    def await_returns(self, double seconds):
        """Wait for the ranks that are away, at most `seconds`; return who still is."""
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while True:
            self.skim()
            while self.roster.next_returned() >= 0 or self.next_lost() >= 0:
                pass
            if not self.roster.away or self.now() > end:
                pause_reset(&self.pause)
                return sorted(self.roster.away)
            with nogil:
                self.nap()

    def give_up(self, int rank):
        """Take it that a rank has died, though MPI does not say so."""
        self.bereave(rank)

    cdef void bereave(self, int peer) noexcept nogil:
        """Take it that a rank has died."""
        pthread_mutex_lock(&self.mutex)
        self.table.give_up(self.table, peer)
        pthread_mutex_unlock(&self.mutex)

    def bid_farewell(self, peers):
        """Tell ranks that nothing follows; to one that executes a pool, this rank is lost."""
        cdef message_t *m
        for peer in peers:
            m = FrameWriter().seal_plain(peer, FAREWELL)
            if m == NULL:
                raise MemoryError()
            self.send(m)

    def await_farewells(self, peers, double seconds):
        """Take in all that these ranks have sent, waiting so long; return whether that was all.

        What is left unread when a communicator is freed meets the next one of the same number.
        """
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        cdef message_t *m
        missing = set(peers)
        while missing and self.now() < end:
            m = self.poll(FAREWELL)
            if m != NULL:
                missing.discard(m.peer)
                message_free(m)
                continue
            self.reap()
            self.next_lost()
            missing -= self.roster.lost
            with nogil:
                self.nap()
        pause_reset(&self.pause)
        return not missing

    cdef int heed_farewells(self) except -1:
        """Take it that ranks that have said farewell are lost: they were expected here."""
        cdef message_t *m
        while self.epochs.stash != NULL:
            pthread_mutex_lock(&self.mutex)
            m = unstash(&self.epochs, FAREWELL)
            pthread_mutex_unlock(&self.mutex)
            if m == NULL:
                return 0
            self.bereave(m.peer)
            self.roster.departed.add(m.peer)
            message_free(m)
        return 0

    cdef int next_lost(self) except -2:
        """Return a rank that has died since the last call, or -1."""
        cdef int peer
        pthread_mutex_lock(&self.mutex)
        peer = self.table.lost(self.table)
        pthread_mutex_unlock(&self.mutex)
        if peer >= 0:
            self.roster.note_loss(peer)
        return peer

    cdef void drop(self, message_t *m) noexcept nogil:
        """Free a message of an epoch that has ended; it may tell that a rank has left or died."""
        cdef cursor_t cursor
        cdef record_t record
        cdef const uint8_t *payload
        if cursor_open(&cursor, m.frame, m.frame_size) == 0:
            while cursor_next(&cursor, &record, &payload) == 1:
                if record.kind == MISSING and 0 < record.id <= 0x7FFFFFFF:
                    self.table.give_up(self.table, <int>record.id)
                if record.kind == LEAVE:
                    self.roster.note_return(m.peer, epoch_of(m))
        message_free(m)

    cdef uint64_t *begun_place(self) noexcept nogil:
        """Where this rank notes which job it begins, for others to see where they can."""
        return &self.begun if self.bells is None else self.bells.begun_place()

    cdef uint32_t *signal_place(self) noexcept nogil:
        """Where this rank notes the signal that it dies of."""
        return &self.signal if self.bells is None else self.bells.signal_place()

    cdef int64_t begun_by(self, int peer, uint32_t epoch) noexcept nogil:
        """The job of the epoch that a rank began last; -2: none, -1: nobody can see."""
        return -1 if self.bells is None else self.bells.begun_by(peer, epoch)

    # Waiting

    cdef int64_t now(self) noexcept nogil:
        """The time in ns."""
        return now_ns() if self.table.now == NULL else self.table.now(self.table)

    cdef void doze(self, int64_t ns) noexcept nogil:
        if self.table.sleep == NULL:
            pause_sleep(ns)
        else:
            self.table.sleep(self.table, ns)

    cdef void nap(self) noexcept nogil:
        """Wait a little, longer each time until the pause is reset."""
        if self.pause.spins_left > 0:
            self.pause.spins_left -= 1
            return
        self.doze(self.pause.sleep_ns)
        pause_longer(&self.pause)

    def poke(self):
        """Wake whoever waits here, from any thread."""
        self.nudge()

    cdef void nudge(self) noexcept nogil:
        self.poked = True
        if self.bells is not None:
            self.bells.ring_own()

    cdef message_t *poll(self, uint32_t epoch) noexcept nogil:
        """Return the next message of the epoch, NULL when none has arrived."""
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        m = self.look(epoch)
        pthread_mutex_unlock(&self.mutex)
        return m

    cdef void skim(self) noexcept nogil:
        """Take in what has arrived, and keep only what an epoch still wants; none is 0."""
        cdef message_t *m = self.poll(0)
        if m != NULL:
            message_free(m)

    cdef message_t *look(self, uint32_t epoch) noexcept nogil:
        cdef message_t *m = NULL
        if self.epochs.stash != NULL:
            m = unstash(&self.epochs, epoch)
            if m != NULL:
                return m
        while True:
            m = self.table.poll(self.table, &self.error)
            if m == NULL or epoch_of(m) == epoch:
                return m
            self.put_by(m)

    cdef void put_by(self, message_t *m) noexcept nogil:
        """Keep a message that another pool will read; drop it when none will."""
        if is_closed(&self.epochs, epoch_of(m)):
            self.drop(m)
        else:
            stash(&self.epochs, m)

    cdef message_t *wait(self, uint32_t epoch, int64_t until_ns) noexcept nogil:
        """Wait for a message until the time `until_ns`, or until somebody pokes."""
        cdef message_t *m
        while True:
            m = self.poll(epoch)
            if m == NULL and self.pause.spins_left == 0:
                m = self.rest(epoch, until_ns)
            elif m == NULL:
                self.pause.spins_left -= 1
            if m != NULL:
                pause_reset(&self.pause)
                return m
            if self.poked or self.error < 0 or self.now() >= until_ns:
                self.poked = False
                return NULL

    cdef message_t *rest(self, uint32_t epoch, int64_t until_ns) noexcept nogil:
        """Sleep until the bell rings or it is time to look; a message that came just before."""
        cdef message_t *m
        cdef int looks = LOOKS
        if self.bells is None or self.table.sleep != NULL:  # with a clock of its own, it wakes us
            self.doze(self.bedtime(until_ns))
        else:
            self.bells.lie_down()
            while looks > 0:
                looks -= 1
                m = self.poll(epoch)
                if m != NULL or self.poked:
                    self.bells.get_up()
                    return m
            self.bells.sleep(self.bedtime(until_ns))
        pause_longer(&self.pause)
        return NULL

    cdef int64_t bedtime(self, int64_t until_ns) noexcept nogil:
        """How long to sleep, in ns."""
        cdef int64_t ns = self.pause.sleep_ns
        cdef int64_t left = until_ns - self.now()
        if self.bells is not None and self.bells.complete:
            ns = BELL_NS
        if self.table.moving(self.table):
            ns = min(ns, MOVING_NS)  # the other side may wait for us
        return max(0, min(ns, left))

    cdef int send(self, message_t *message) noexcept nogil:
        """Send a message, which the channel then owns, and wake its receiver."""
        cdef int peer = message.peer
        cdef int code
        pthread_mutex_lock(&self.mutex)
        code = self.table.send(self.table, message)
        pthread_mutex_unlock(&self.mutex)
        if code < 0:
            self.error = code
        elif self.bells is not None:
            self.bells.ring(peer)
        return code

    cdef int pending(self) noexcept nogil:
        """How many messages have not left."""
        cdef int n
        pthread_mutex_lock(&self.mutex)
        n = self.table.pending(self.table)
        pthread_mutex_unlock(&self.mutex)
        return n

    cdef int occupy(self) except -1:
        """Begin to run a pool: only one at a time can read what comes in."""
        if self.occupied:
            self.refuse()
        self.occupied = True
        self.occupant = PyThread_get_thread_ident()
        return 0

    cdef int refuse(self) except -1:
        raise RuntimeError(
            "Another pool of this communicator is executing, or an executor is open on it, around "
            "this call or in another thread; use one after the other, or one communicator for each"
        )

    cdef void vacate(self) noexcept:
        self.occupied = False

    cdef int check(self) except -1:
        if self.error < 0:
            raise TransportError(f"The communication between the ranks failed (code {self.error})")
        return 0

    cdef int post(self, message_t *message) except -1:
        """Send a message, which the channel then owns."""
        self.send(message)
        self.check()
        return 0

    cdef int reap(self) except -1:
        """Let go of what has been sent."""
        cdef message_t *m
        while True:
            pthread_mutex_lock(&self.mutex)
            m = self.table.sent(self.table)
            pthread_mutex_unlock(&self.mutex)
            if m == NULL:
                return 0
            if m.pinned != NULL:
                Py_DECREF(<object>m.pinned)
            message_free(m)
