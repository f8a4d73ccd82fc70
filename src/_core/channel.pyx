"""One transport, many pools: messages sorted by the run that they belong to.

Each pool on a communicator has an *epoch*, counted alike on all ranks. A frame
of an epoch that ended here is dropped (say the late reply of a job that main
did not wait for); one of an epoch that is not read yet is kept for it (main is
one pool ahead of a busy worker).
"""
from bsbpool._core.bells cimport Bells
from bsbpool._core.pause cimport (
    LOOKS,
    now_ns,
    pause_longer,
    pause_reset,
    pause_sleep,
    pause_wait,
)
from bsbpool._core.transport cimport Transport, message_free, message_t
from bsbpool._core.vector cimport ints_free, ints_push
from bsbpool._core.wire cimport header_t
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

import time

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
    """

    def __cinit__(self, Transport transport not None, bint crowded=False, Bells bells=None):
        self.transport = transport
        self.bells = bells
        self.table = &transport.table
        pthread_mutex_init(&self.mutex, NULL)
        self.stash = NULL
        self.next_epoch = 1
        self.pause.spins = 0 if crowded else SPINS
        pause_reset(&self.pause)

    def __dealloc__(self):
        cdef message_t *m
        while self.stash != NULL:
            m = self.stash
            self.stash = m.next
            message_free(m)
        ints_free(&self.open_epochs)
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
        cdef uint32_t epoch = self.next_epoch
        pthread_mutex_lock(&self.mutex)
        cdef int code = ints_push(&self.open_epochs, <int32_t>epoch)
        self.next_epoch += code == 0
        pthread_mutex_unlock(&self.mutex)
        if code < 0:
            raise MemoryError()
        return epoch

    def close(self, uint32_t epoch):
        """End an epoch: what arrived or arrives for it is dropped."""
        cdef int64_t i
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        for i in range(self.open_epochs.size):
            if <uint32_t>self.open_epochs.data[i] == epoch:
                self.open_epochs.size -= 1
                self.open_epochs.data[i] = self.open_epochs.data[self.open_epochs.size]
                break
        while True:
            m = self.unstash(epoch)
            if m == NULL:
                break
            message_free(m)
        pthread_mutex_unlock(&self.mutex)
        if not self.occupied:
            # A pool that is never executed has no loop that would do this.
            self.poll(0)
            self.reap()

    def drain(self, double seconds):
        """Wait until all that was sent has left, at most `seconds`; return whether it has."""
        cdef double end = time.monotonic() + seconds
        while self.pending() and time.monotonic() < end:
            with nogil:
                self.poll(0)
                pause_wait(&self.pause)
            self.reap()
        pause_reset(&self.pause)
        return self.pending() == 0

    def sweep(self):
        """Drop what has arrived for epochs that have ended."""
        self.poll(0)  # no epoch is 0: what is still wanted is kept for its epoch
        self.check()

    def poke(self):
        """Wake whoever waits here, from any thread."""
        self.nudge()

    cdef void nudge(self) noexcept nogil:
        self.poked = True
        if self.bells is not None:
            self.bells.ring_own()

    cdef bint is_closed(self, uint32_t epoch) noexcept nogil:
        cdef int64_t i
        if epoch >= self.next_epoch:
            return False
        for i in range(self.open_epochs.size):
            if <uint32_t>self.open_epochs.data[i] == epoch:
                return False
        return True

    cdef message_t *unstash(self, uint32_t epoch) noexcept nogil:
        cdef message_t **link = &self.stash
        cdef message_t *m
        while link[0] != NULL:
            m = link[0]
            if epoch_of(m) == epoch:
                link[0] = m.next
                m.next = NULL
                return m
            link = &m.next
        return NULL

    cdef message_t *poll(self, uint32_t epoch) noexcept nogil:
        """Return the next message of the epoch, NULL when none has arrived."""
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        m = self.look(epoch)
        pthread_mutex_unlock(&self.mutex)
        return m

    cdef message_t *look(self, uint32_t epoch) noexcept nogil:
        cdef message_t *m = NULL
        cdef message_t **link
        if self.stash != NULL:
            m = self.unstash(epoch)
            if m != NULL:
                return m
        while True:
            m = self.table.poll(self.table, &self.error)
            if m == NULL or epoch_of(m) == epoch:
                return m
            if self.is_closed(epoch_of(m)):
                message_free(m)
                continue
            link = &self.stash
            while link[0] != NULL:
                link = &link[0].next
            link[0] = m

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
            if self.poked or self.error < 0 or now_ns() >= until_ns:
                self.poked = False
                return NULL

    cdef message_t *rest(self, uint32_t epoch, int64_t until_ns) noexcept nogil:
        """Sleep until the bell rings or it is time to look; a message that came just before."""
        cdef message_t *m
        cdef int looks = LOOKS
        if self.bells is None:
            pause_sleep(self.bedtime(until_ns))
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
        cdef int64_t left = until_ns - now_ns()
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
            "another pool of this communicator is executing (in another thread, or around "
            "this one); execute one after the other, or give each a communicator of its own"
        )

    cdef void vacate(self) noexcept:
        self.occupied = False

    cdef int check(self) except -1:
        if self.error < 0:
            raise TransportError(f"the network between the ranks failed (code {self.error})")
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


cdef uint32_t epoch_of(message_t *m) noexcept nogil:
    cdef header_t header
    memcpy(&header, m.frame, sizeof(header_t))
    return header.epoch
