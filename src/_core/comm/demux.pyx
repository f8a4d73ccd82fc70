"""Sorting the messages of one transport by the run that they belong to.

Each execution of a pool on a communicator is a *run*. Runs have the same numbers on all ranks, and
each message carries the number of its run. A message of a run that is closed here is dropped, for
example the late reply of a job that the main rank did not wait for. A message of a run that is not
being read here is stashed: the main rank may be one run ahead of a busy worker.

The mutex allows several threads to use the transport, one at a time.
"""
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
from bsbpool._core.vector cimport ints_free, ints_push
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_trylock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)


cdef class Demux:
    """The messages of one transport, sorted by run.

    Parameters
    ----------
    transport : Transport
        The network. The demux is its only user.
    membership : Membership
        Learns from dropped messages which ranks have returned.
    """

    def __init__(self, Transport transport not None, Membership membership not None):
        self.transport = transport
        self.table = &transport.table
        self.membership = membership

    def __cinit__(self, *args, **kwargs):
        pthread_mutex_init(&self.mutex, NULL)
        self.next_run_id = NO_RUN_ID + 1

    def __dealloc__(self):
        cdef message_t *m
        while self.stash != NULL:
            m = self.stash
            self.stash = m.next
            message_free(m)
        ints_free(&self.open_runs)
        pthread_mutex_destroy(&self.mutex)

    cdef void lock(self) noexcept nogil:
        """Take the mutex, to use the transport."""
        pthread_mutex_lock(&self.mutex)

    cdef bint try_lock(self) noexcept nogil:
        """Take the mutex; return False if another thread has it."""
        return pthread_mutex_trylock(&self.mutex) == 0

    cdef void unlock(self) noexcept nogil:
        pthread_mutex_unlock(&self.mutex)

    # Runs

    cdef uint32_t open_run(self) except? 0:
        """Open the next run and return its number."""
        cdef uint32_t run_id = self.next_run_id
        cdef int code
        pthread_mutex_lock(&self.mutex)
        code = ints_push(&self.open_runs, <int32_t>run_id)
        self.next_run_id += code == 0
        pthread_mutex_unlock(&self.mutex)
        if code < 0:
            raise MemoryError()
        return run_id

    cdef void close_run(self, uint32_t run_id) noexcept nogil:
        """Close a run; its messages are dropped from now on."""
        cdef int64_t i
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        for i in range(self.open_runs.size):
            if <uint32_t>self.open_runs.data[i] == run_id:
                self.open_runs.size -= 1
                self.open_runs.data[i] = self.open_runs.data[self.open_runs.size]
                break
        m = self.take_stashed(run_id)
        while m != NULL:
            self.drop(m)
            m = self.take_stashed(run_id)
        pthread_mutex_unlock(&self.mutex)

    cdef bint is_closed(self, uint32_t run_id) noexcept nogil:
        """Whether a run was opened here and then closed.

        A larger number than those used so far is a run that other ranks have opened already, or
        SHUTDOWN_RUN_ID.
        """
        cdef int64_t i
        if run_id >= self.next_run_id:
            return False
        for i in range(self.open_runs.size):
            if <uint32_t>self.open_runs.data[i] == run_id:
                return False
        return True

    # Receiving

    cdef message_t *poll(self, uint32_t run_id) noexcept nogil:
        """Return the next message of a run, or NULL when none has arrived."""
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        m = self.receive(run_id)
        pthread_mutex_unlock(&self.mutex)
        return m

    cdef message_t *receive(self, uint32_t run_id) noexcept nogil:
        """Do the work of `poll`; the caller holds the mutex."""
        cdef message_t *m = NULL
        if self.stash != NULL:
            m = self.take_stashed(run_id)
            if m != NULL:
                return m
        while True:
            m = self.table.poll(self.table, &self.error)
            if m == NULL:
                return NULL
            self.n_data += is_data(m)
            if run_id_of(m) == run_id:
                return m
            self.stash_or_drop(m)

    cdef void stash_or_drop(self, message_t *m) noexcept nogil:
        """Handle a message of a run that is not being read here."""
        cdef message_t **link = &self.stash
        if self.is_closed(run_id_of(m)):
            self.drop(m)
            return
        while link[0] != NULL:
            link = &link[0].next
        link[0] = m

    cdef message_t *take_stashed(self, uint32_t run_id) noexcept nogil:
        """Return the oldest stashed message of a run, or NULL; the caller holds the mutex."""
        cdef message_t **link = &self.stash
        cdef message_t *m
        while link[0] != NULL:
            m = link[0]
            if run_id_of(m) == run_id:
                link[0] = m.next
                m.next = NULL
                return m
            link = &m.next
        return NULL

    cdef message_t *take_shutdown(self) noexcept nogil:
        """Return the last message of a rank that has announced its shutdown, or NULL."""
        cdef message_t *m
        if self.stash == NULL:
            return NULL
        pthread_mutex_lock(&self.mutex)
        m = self.take_stashed(SHUTDOWN_RUN_ID)
        pthread_mutex_unlock(&self.mutex)
        return m

    cdef void receive_unread(self) noexcept nogil:
        """Receive what has arrived; drop messages of closed runs and stash the others."""
        cdef message_t *m = self.poll(NO_RUN_ID)  # sorts all messages, and returns none of ours
        if m != NULL:
            message_free(m)

    cdef void drop(self, message_t *m) noexcept nogil:
        """Free a message of a closed run, which may report that a rank has returned or failed."""
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

    # Sending

    cdef int send(self, message_t *m) noexcept nogil:
        """Start to send a message, which the transport then owns; return 0 or an error code."""
        cdef int code
        pthread_mutex_lock(&self.mutex)
        code = self.table.send(self.table, m)
        pthread_mutex_unlock(&self.mutex)
        if code < 0:
            self.error = code
        return code

    cdef message_t *next_sent(self) noexcept nogil:
        """Return a message whose send is complete, or NULL."""
        cdef message_t *m
        pthread_mutex_lock(&self.mutex)
        m = self.table.sent(self.table)
        pthread_mutex_unlock(&self.mutex)
        return m

    cdef int pending(self) noexcept nogil:
        """Return how many sends are not complete."""
        cdef int n
        pthread_mutex_lock(&self.mutex)
        n = self.table.pending(self.table)
        pthread_mutex_unlock(&self.mutex)
        return n

    # Failures

    cdef void mark_failed(self, int peer) noexcept nogil:
        """Mark a rank as failed, though the network has not reported it."""
        pthread_mutex_lock(&self.mutex)
        self.table.mark_failed(self.table, peer)
        pthread_mutex_unlock(&self.mutex)

    cdef int next_lost(self) noexcept nogil:
        """Return a rank that was lost since the last call, or -1."""
        cdef int peer
        pthread_mutex_lock(&self.mutex)
        peer = self.table.next_lost(self.table)
        pthread_mutex_unlock(&self.mutex)
        return peer
