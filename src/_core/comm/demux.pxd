from bsbpool._core.comm.membership cimport Membership
from bsbpool._core.comm.transport cimport Transport, transport_t
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.vector cimport ints_t
from libc.stdint cimport uint32_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef enum:
    NO_RUN_ID = 0  # no message has it: the first run is 1
    # The run of a rank's last message, see `Channel.announce_shutdown`. It is never closed.
    SHUTDOWN_RUN_ID = 0x7FFFFFFF

cdef class Demux:
    cdef readonly Transport transport
    cdef transport_t *table
    cdef pthread_mutex_t mutex
    cdef Membership membership
    cdef int error  # negative when the network failed
    cdef ints_t open_runs
    cdef uint32_t next_run_id
    cdef message_t *stash  # messages of runs that are not being read, oldest first

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
