"""A network whose workers reply at once, to measure the CPU time of the main rank's loop.

There are no other ranks: the transport itself writes the replies to the jobs that main sends, one
message for each message. The time that this takes is counted, so that it can be subtracted.
"""
from bsbpool._core.comm.backoff cimport now_ns
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY, Transport, transport_t
from bsbpool._core.protocol.frames cimport FrameReader, FrameWriter
from bsbpool._core.protocol.message cimport message_free, message_new, message_t
from bsbpool._core.protocol.wire cimport (
    DONE,
    JOB,
    NO_RESULT,
    OK_REPLY,
    cursor_next,
    cursor_open,
    cursor_t,
    frame_append,
    frame_free,
    frame_init,
    frame_seal,
    frame_t,
    record_t,
    timing_pack,
)
from bsbpool._core.scheduling.workers cimport (
    workers_free,
    workers_init,
    workers_open,
    workers_t,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset

cdef enum:
    MOST_NS = 20_000

ctypedef struct loopback_t:
    message_t *first  # the replies that main has not read
    message_t *last
    message_t *sent
    int64_t run_ns
    int hidden  # how many polls find nothing after a message was sent
    int polls_left
    int64_t spent_ns
    int64_t n_messages
    int64_t n_jobs


cdef bint reply_to(loopback_t *state, message_t *m) noexcept nogil:
    """Write the replies to the jobs of a message; return False when memory is exhausted."""
    cdef cursor_t cursor
    cdef record_t record
    cdef record_t reply
    cdef const uint8_t *payload
    cdef frame_t frame
    cdef message_t *answer
    cdef uint32_t run_id
    if cursor_open(&cursor, m.frame, m.frame_size) < 0:
        return True
    run_id = cursor.header.run_id
    frame_init(&frame)
    memset(&reply, 0, sizeof(record_t))
    reply.kind = DONE
    reply.flags = OK_REPLY | NO_RESULT
    reply.extra = timing_pack(state.run_ns, 0)
    while cursor_next(&cursor, &record, &payload) == 1:
        if record.kind == JOB:
            reply.id = record.id
            state.n_jobs += 1
            if frame_append(&frame, &reply, NULL) < 0:
                return False
    if frame.n_records == 0:
        frame_free(&frame)
        return True
    answer = message_new(m.peer, 0)
    if answer == NULL or frame_seal(&frame, run_id) < 0:
        return False
    answer.frame = frame.data
    answer.frame_size = <int64_t>frame.size
    if state.first == NULL:
        state.first = answer
    else:
        state.last.next = answer
    state.last = answer
    state.polls_left = state.hidden
    state.n_messages += 1
    return True


cdef int loopback_send(transport_t *t, message_t *m) noexcept nogil:
    cdef loopback_t *state = <loopback_t *>t.self
    cdef int64_t begun = now_ns()
    cdef bint done = reply_to(state, m)
    m.next = state.sent
    state.sent = m
    begun = now_ns() - begun
    # A longer time is that of another process which got this core.
    state.spent_ns += begun if begun < MOST_NS else MOST_NS
    return 0 if done else TRANSPORT_NO_MEMORY


cdef message_t *loopback_poll(transport_t *t, int *error) noexcept nogil:
    cdef loopback_t *state = <loopback_t *>t.self
    cdef message_t *m = state.first
    if state.polls_left > 0:
        state.polls_left -= 1
        return NULL
    if m != NULL:
        state.first = m.next
        m.next = NULL
    return m


cdef message_t *loopback_sent(transport_t *t) noexcept nogil:
    cdef loopback_t *state = <loopback_t *>t.self
    cdef message_t *m = state.sent
    if m != NULL:
        state.sent = m.next
        m.next = NULL
    return m


cdef int loopback_pending(transport_t *t) noexcept nogil:
    return 0


cdef bint loopback_is_active(transport_t *t) noexcept nogil:
    return False


cdef int loopback_next_lost(transport_t *t) noexcept nogil:
    return -1


cdef void loopback_mark_failed(transport_t *t, int peer) noexcept nogil:
    pass


cdef class Loopback(Transport):
    """A transport of rank 0 whose `n_ranks` - 1 workers end each job at once.

    Parameters
    ----------
    n_ranks : int
        The number of ranks.
    run_ns : int
        The run time that the workers report for each job.
    hidden : int, optional
        How many polls find nothing after main has sent a message.
    """

    cdef loopback_t state

    def __cinit__(self, int n_ranks, int64_t run_ns, int hidden=0):
        memset(&self.state, 0, sizeof(loopback_t))
        memset(&self.table, 0, sizeof(transport_t))
        self.state.run_ns = run_ns
        self.state.hidden = hidden
        self.table.self = &self.state
        self.table.n_ranks = n_ranks
        self.table.send = loopback_send
        self.table.poll = loopback_poll
        self.table.sent = loopback_sent
        self.table.pending = loopback_pending
        self.table.is_active = loopback_is_active
        self.table.next_lost = loopback_next_lost
        self.table.mark_failed = loopback_mark_failed

    def __dealloc__(self):
        drop(self.state.first)
        drop(self.state.sent)

    @property
    def spent_ns(self):
        """The time in ns that the workers took."""
        return self.state.spent_ns

    @property
    def n_messages(self):
        """The number of messages with jobs that the workers have got, and replied to."""
        return self.state.n_messages

    @property
    def n_jobs(self):
        """The number of jobs that the workers have got."""
        return self.state.n_jobs


cdef void drop(message_t *m) noexcept:
    """Free a list of messages."""
    cdef message_t *following
    while m != NULL:
        following = m.next
        message_free(m)
        m = following


def time_frames(int n):
    """Return the time in ns for writing a frame of one record and reading it again.

    Parameters
    ----------
    n : int
        How often to do it.
    """
    cdef FrameWriter writer = FrameWriter()
    cdef FrameReader reader = FrameReader()
    cdef int64_t begun = now_ns()
    cdef int i
    for i in range(n):
        if writer.put_scalars(DONE, i, 0, OK_REPLY | NO_RESULT, 0, NULL, 0) < 0:
            raise MemoryError()
        reader.open(writer.seal(1, 1))
        reader.next()
    return (now_ns() - begun) / <double>n


def time_scan(int32_t n):
    """Return the time in ns for looking at each of `n` workers, for one of them."""
    cdef workers_t workers
    cdef int64_t begun
    cdef int32_t i
    cdef int64_t found = 0
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    workers_init(&workers)
    if workers_open(&workers, n) < 0:
        raise MemoryError()
    begun = now_ns()
    for i in range(n):
        found += workers.slots[i].in_flight > 1
    begun = now_ns() - begun + found
    workers_free(&workers)
    return begun / <double>n
