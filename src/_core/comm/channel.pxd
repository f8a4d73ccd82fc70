from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.comm.demux cimport demux_t
from bsbpool._core.comm.backoff cimport pause_t
from bsbpool._core.comm.membership cimport Membership
from bsbpool._core.comm.transport cimport Transport, transport_t
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef class Channel:
    cdef readonly Transport transport
    cdef public object process_monitor  # the processes of ranks beside this one, where they are known
    cdef pthread_mutex_t mutex  # for what is below: two threads may have pools here
    cdef transport_t *table
    cdef readonly Wakeup wakeup  # None: nobody can wake another
    cdef demux_t demux
    cdef pause_t pause
    cdef int error
    cdef volatile bint woken
    cdef bint in_use
    cdef unsigned long owner_thread  # the thread
    cdef Membership membership
    cdef uint64_t begun  # where there are no wakeup
    cdef uint32_t signal

    cdef int64_t now(self) noexcept nogil
    cdef void sleep_ns(self, int64_t ns) noexcept nogil
    cdef void backoff_wait(self) noexcept nogil
    cdef uint64_t *begun_slot(self) noexcept nogil
    cdef uint32_t *signal_slot(self) noexcept nogil
    cdef int64_t begun_by(self, int peer, uint32_t run_id) noexcept nogil
    cdef void mark_failed(self, int peer) noexcept nogil
    cdef int handle_shutdowns(self) except -1
    cdef int next_lost(self) except -2
    cdef void drop(self, message_t *message) noexcept nogil

    cdef void wake_nogil(self) noexcept nogil
    cdef message_t *poll(self, uint32_t run_id) noexcept nogil
    cdef message_t *look(self, uint32_t run_id) noexcept nogil
    cdef void stash_or_drop(self, message_t *m) noexcept nogil
    cdef int pending(self) noexcept nogil
    cdef void sort_arrived(self) noexcept nogil
    cdef message_t *wait(self, uint32_t run_id, int64_t until_ns) noexcept nogil
    cdef message_t *rest(self, uint32_t run_id, int64_t until_ns) noexcept nogil
    cdef int64_t sleep_duration(self, int64_t until_ns) noexcept nogil
    cdef int send(self, message_t *message) noexcept nogil
    cdef int acquire(self) except -1
    cdef int raise_in_use(self) except -1
    cdef void release(self) noexcept
    cdef int check(self) except -1
    cdef int post(self, message_t *message) except -1
    cdef int release_sent(self) except -1
