from bsbpool._core.comm.membership cimport Membership
from bsbpool._core.comm.transport cimport Transport, transport_t
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport DATA, header_t, record_t
from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef enum:
    NO_RUN_ID = 0  # no message has it: the first run is 1
    # The run of a rank's last message, see `Channel.announce_shutdown`. It is never closed.
    SHUTDOWN_RUN_ID = 0x7FFFFFFF

cdef inline uint32_t run_id_of(message_t *m) noexcept nogil:
    cdef header_t header
    memcpy(&header, m.frame, sizeof(header_t))
    return header.run_id

cdef inline bint is_data(message_t *m) noexcept nogil:
    """Whether a message has data. They are alone in their frame."""
    return (
        m.frame_size >= sizeof(header_t) + sizeof(record_t)
        and (<record_t *>(m.frame + sizeof(header_t))).kind == DATA
    )

cdef class Demux:
    cdef readonly Transport transport
    cdef transport_t *table
    cdef pthread_mutex_t mutex
    cdef Membership membership
    cdef int error  # negative when the network failed
    cdef int64_t n_data  # how many DATA messages have arrived
    cdef ints_t open_runs
    cdef uint32_t next_run_id
    cdef message_t *stash  # messages of runs that are not being read, oldest first

    cdef void lock(self) noexcept nogil
    cdef bint try_lock(self) noexcept nogil
    cdef void unlock(self) noexcept nogil
    cdef uint32_t open_run(self) except? 0
    cdef void close_run(self, uint32_t run_id) noexcept nogil
    cdef bint is_closed(self, uint32_t run_id) noexcept nogil
    cdef message_t *poll(self, uint32_t run_id) noexcept nogil
    cdef message_t *receive(self, uint32_t run_id) noexcept nogil
    cdef void stash_or_drop(self, message_t *m) noexcept nogil
    cdef message_t *take_stashed(self, uint32_t run_id) noexcept nogil
    cdef message_t *take_shutdown(self) noexcept nogil
    cdef void receive_unread(self) noexcept nogil
    cdef void drop(self, message_t *m) noexcept nogil
    cdef int send(self, message_t *m) noexcept nogil
    cdef message_t *next_sent(self) noexcept nogil
    cdef int pending(self) noexcept nogil
    cdef void mark_failed(self, int peer) noexcept nogil
    cdef int next_lost(self) noexcept nogil
