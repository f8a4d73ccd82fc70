"""One transport, many pools, and perhaps two threads: taking turns at it, and waiting for it.

`demux` sorts the messages by pool; `membership` remembers who cannot be counted on.
"""
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.comm.demux cimport (
    SHUTDOWN_RUN_ID,
    run_id_of,
    demux_close,
    demux_free,
    demux_init,
    demux_open,
    is_closed,
    stash,
    unstash,
)
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.comm.backoff cimport (
    LOOKS,
    now_ns,
    pause_longer,
    pause_reset,
    pause_sleep,
)
from bsbpool._core.comm.membership cimport Membership
from bsbpool._core.comm.transport cimport Transport
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.wire cimport (
    LEAVE,
    RANK_FAILED,
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
    MISSED_WAKEUP_NS = 3_000_000  # a bell that was missed costs no more


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
    wakeup : Wakeup, optional
        What wakes ranks of this node.

    Attributes
    ----------
    lost : set of int
        Ranks that have died.
    away : set of int
        Ranks that are inside a job whose run has ended.
    terminated : set of int
        Those of the lost that end by themselves.
    """

    def __cinit__(self, Transport transport not None, bint crowded=False, Wakeup wakeup=None):
        self.transport = transport
        self.wakeup = wakeup
        self.table = &transport.table
        pthread_mutex_init(&self.mutex, NULL)
        demux_init(&self.demux)
        self.membership = Membership()
        self.pause.spins = 0 if crowded else SPINS
        pause_reset(&self.pause)

    def __dealloc__(self):
        demux_free(&self.demux)
        pthread_mutex_destroy(&self.mutex)

    def open(self):
        """Begin an run id; return its number. All ranks open them in the same order.

        Raises
        ------
        RuntimeError
            While another thread executes a pool: the ranks could not agree on the order.
        """
        if self.in_use and self.owner_thread != PyThread_get_thread_ident():
            self.raise_in_use()
        cdef uint32_t run_id = self.demux.next
        pthread_mutex_lock(&self.mutex)
        cdef int code = demux_open(&self.demux)
        pthread_mutex_unlock(&self.mutex)
        if code < 0:
            raise MemoryError()
        return run_id

    def close(self, uint32_t run_id):
        """End an run id: what arrived or arrives for it is dropped."""
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        demux_close(&self.demux, run_id)
        while True:
            m = unstash(&self.demux, run_id)
            if m == NULL:
                break
            self.drop(m)
        pthread_mutex_unlock(&self.mutex)
        if not self.in_use:
            # A pool that is never executed has no loop that would do this.
            self.sort_arrived()
            self.release_sent()

    def drain(self, double seconds):
        """Wait until all that was sent has left, at most `seconds`; return whether it has."""
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while self.pending() and self.now() < end:
            with nogil:
                self.sort_arrived()
                self.backoff_wait()
            self.release_sent()
            self.next_lost()  # what was on its way to it will not leave
        pause_reset(&self.pause)
        return self.pending() == 0

    def drop_stale(self):
        """Drop what has arrived for demux that have ended."""
        self.sort_arrived()
        self.check()

    # Who is there

    @property
    def lost(self):
        return self.membership.lost

    @property
    def away(self):
        return self.membership.away

    @property
    def terminated(self):
        return self.membership.terminated

    def mark_away(self, int rank, uint32_t run_id):
        """Note that a rank is inside a job of an run id whose run has ended."""
        self.membership.mark_away(rank, run_id)

    def await_returns(self, double seconds):
        """Wait for the ranks that are away, at most `seconds`; return who still is."""
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while True:
            self.sort_arrived()
            while self.membership.next_return() >= 0 or self.next_lost() >= 0:
                pass
            if not self.membership.away or self.now() > end:
                pause_reset(&self.pause)
                return sorted(self.membership.away)
            with nogil:
                self.backoff_wait()

    def report_failure(self, int rank):
        """Take it that a rank has died, though MPI does not say so."""
        self.mark_failed(rank)

    cdef void mark_failed(self, int peer) noexcept nogil:
        """Take it that a rank has died."""
        pthread_mutex_lock(&self.mutex)
        self.table.mark_failed(self.table, peer)
        pthread_mutex_unlock(&self.mutex)

    def announce_shutdown(self, peers):
        """Tell ranks that nothing follows; to one that executes a pool, this rank is lost."""
        cdef message_t *m
        for peer in peers:
            m = FrameWriter().seal_scalars(peer, SHUTDOWN_RUN_ID)
            if m == NULL:
                raise MemoryError()
            self.send(m)

    def await_shutdowns(self, peers, double seconds):
        """Take in all that these ranks have sent, waiting so long; return whether that was all.

        What is left unread when a communicator is freed meets the next one of the same number.
        """
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        cdef message_t *m
        missing = set(peers)
        while missing and self.now() < end:
            m = self.poll(SHUTDOWN_RUN_ID)
            if m != NULL:
                missing.discard(m.peer)
                message_free(m)
                continue
            self.release_sent()
            self.next_lost()
            missing -= self.membership.lost
            with nogil:
                self.backoff_wait()
        pause_reset(&self.pause)
        return not missing

    cdef int handle_shutdowns(self) except -1:
        """Take it that ranks that have said farewell are lost: they were expected here."""
        cdef message_t *m
        while self.demux.stash != NULL:
            pthread_mutex_lock(&self.mutex)
            m = unstash(&self.demux, SHUTDOWN_RUN_ID)
            pthread_mutex_unlock(&self.mutex)
            if m == NULL:
                return 0
            self.mark_failed(m.peer)
            self.membership.terminated.add(m.peer)
            message_free(m)
        return 0

    cdef int next_lost(self) except -2:
        """Return a rank that has died since the last call, or -1."""
        cdef int peer
        pthread_mutex_lock(&self.mutex)
        peer = self.table.lost(self.table)
        pthread_mutex_unlock(&self.mutex)
        if peer >= 0:
            self.membership.record_loss(peer)
        return peer

    cdef void drop(self, message_t *m) noexcept nogil:
        """Free a message of an run id that has ended; it may tell that a rank has left or died."""
        cdef cursor_t cursor
        cdef record_t record
        cdef const uint8_t *payload
        if cursor_open(&cursor, m.frame, m.frame_size) == 0:
            while cursor_next(&cursor, &record, &payload) == 1:
                if record.kind == RANK_FAILED and 0 < record.id <= 0x7FFFFFFF:
                    self.table.mark_failed(self.table, <int>record.id)
                if record.kind == LEAVE:
                    self.membership.record_return(m.peer, run_id_of(m))
        message_free(m)

    cdef uint64_t *begun_slot(self) noexcept nogil:
        """Where this rank notes which job it begins, for others to see where they can."""
        return &self.begun if self.wakeup is None else self.wakeup.begun_slot()

    cdef uint32_t *signal_slot(self) noexcept nogil:
        """Where this rank notes the signal that it dies of."""
        return &self.signal if self.wakeup is None else self.wakeup.signal_slot()

    cdef int64_t begun_by(self, int peer, uint32_t run_id) noexcept nogil:
        """The job of the run id that a rank began last; -2: none, -1: nobody can see."""
        return -1 if self.wakeup is None else self.wakeup.begun_by(peer, run_id)

    # Waiting

    cdef int64_t now(self) noexcept nogil:
        """The time in ns."""
        return now_ns() if self.table.now == NULL else self.table.now(self.table)

    cdef void sleep_ns(self, int64_t ns) noexcept nogil:
        if self.table.sleep == NULL:
            pause_sleep(ns)
        else:
            self.table.sleep(self.table, ns)

    cdef void backoff_wait(self) noexcept nogil:
        """Wait a little, longer each time until the pause is reset."""
        if self.pause.spins_left > 0:
            self.pause.spins_left -= 1
            return
        self.sleep_ns(self.pause.sleep_ns)
        pause_longer(&self.pause)

    def wake(self):
        """Wake whoever waits here, from any thread."""
        self.wake_nogil()

    cdef void wake_nogil(self) noexcept nogil:
        self.woken = True
        if self.wakeup is not None:
            self.wakeup.notify_self()

    cdef message_t *poll(self, uint32_t run_id) noexcept nogil:
        """Return the next message of the run id, NULL when none has arrived."""
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        m = self.look(run_id)
        pthread_mutex_unlock(&self.mutex)
        return m

    cdef void sort_arrived(self) noexcept nogil:
        """Take in what has arrived, and keep only what an run id still wants; none is 0."""
        cdef message_t *m = self.poll(0)
        if m != NULL:
            message_free(m)

    cdef message_t *look(self, uint32_t run_id) noexcept nogil:
        cdef message_t *m = NULL
        if self.demux.stash != NULL:
            m = unstash(&self.demux, run_id)
            if m != NULL:
                return m
        while True:
            m = self.table.poll(self.table, &self.error)
            if m == NULL or run_id_of(m) == run_id:
                return m
            self.stash_or_drop(m)

    cdef void stash_or_drop(self, message_t *m) noexcept nogil:
        """Keep a message that another pool will read; drop it when none will."""
        if is_closed(&self.demux, run_id_of(m)):
            self.drop(m)
        else:
            stash(&self.demux, m)

    cdef message_t *wait(self, uint32_t run_id, int64_t until_ns) noexcept nogil:
        """Wait for a message until the time `until_ns`, or until somebody pokes."""
        cdef message_t *m
        while True:
            m = self.poll(run_id)
            if m == NULL and self.pause.spins_left == 0:
                m = self.rest(run_id, until_ns)
            elif m == NULL:
                self.pause.spins_left -= 1
            if m != NULL:
                pause_reset(&self.pause)
                return m
            if self.woken or self.error < 0 or self.now() >= until_ns:
                self.woken = False
                return NULL

    cdef message_t *rest(self, uint32_t run_id, int64_t until_ns) noexcept nogil:
        """Sleep until the bell rings or it is time to look; a message that came just before."""
        cdef message_t *m
        cdef int looks = LOOKS
        if self.wakeup is None or self.table.sleep != NULL:  # with a clock of its own, it wakes us
            self.sleep_ns(self.sleep_duration(until_ns))
        else:
            self.wakeup.prepare_wait()
            while looks > 0:
                looks -= 1
                m = self.poll(run_id)
                if m != NULL or self.woken:
                    self.wakeup.end_wait()
                    return m
            self.wakeup.sleep(self.sleep_duration(until_ns))
        pause_longer(&self.pause)
        return NULL

    cdef int64_t sleep_duration(self, int64_t until_ns) noexcept nogil:
        """How long to sleep, in ns."""
        cdef int64_t ns = self.pause.sleep_ns
        cdef int64_t left = until_ns - self.now()
        if self.wakeup is not None and self.wakeup.complete:
            ns = MISSED_WAKEUP_NS
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
        elif self.wakeup is not None:
            self.wakeup.notify(peer)
        return code

    cdef int pending(self) noexcept nogil:
        """How many messages have not left."""
        cdef int n
        pthread_mutex_lock(&self.mutex)
        n = self.table.pending(self.table)
        pthread_mutex_unlock(&self.mutex)
        return n

    cdef int acquire(self) except -1:
        """Begin to run a pool: only one at a time can read what comes in."""
        if self.in_use:
            self.raise_in_use()
        self.in_use = True
        self.owner_thread = PyThread_get_thread_ident()
        return 0

    cdef int raise_in_use(self) except -1:
        raise RuntimeError(
            "Another pool of this communicator is executing, or an executor is open on it, around "
            "this call or in another thread; use one after the other, or one communicator for each"
        )

    cdef void release(self) noexcept:
        self.in_use = False

    cdef int check(self) except -1:
        if self.error < 0:
            raise TransportError(f"The communication between the ranks failed (code {self.error})")
        return 0

    cdef int post(self, message_t *message) except -1:
        """Send a message, which the channel then owns."""
        self.send(message)
        self.check()
        return 0

    cdef int release_sent(self) except -1:
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
