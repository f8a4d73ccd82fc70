from bsbpool._core.comm.demux cimport Demux
from bsbpool._core.comm.membership cimport Membership
from bsbpool._core.comm.process_monitor cimport ProcessMonitor
from bsbpool._core.comm.relaying cimport Relaying
from bsbpool._core.comm.transport cimport transport_t
from bsbpool._core.comm.waiter cimport Waiter
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef class Channel:
    cdef object __weakref__
    cdef Demux demux
    cdef Waiter waiter
    cdef Membership membership
    cdef readonly Relaying relaying
    cdef readonly Wakeup wakeup  # None: ranks cannot wake each other
    cdef public ProcessMonitor process_monitor
    cdef tuple host_names
    cdef readonly bytes remote
    cdef public object local_link  # a LocalLink, if a pool had a worker in this process
    cdef transport_t *table
    cdef int64_t n_data_due  # how many DATA messages this rank was to be sent in runs that ended
    cdef bint in_use  # whether a run is being executed ...
    cdef unsigned long owner_thread  # ... and in which thread
    cdef int64_t processes_checked  # when the processes of this node were last looked at
    cdef uint64_t begun  # these replace the slots of `wakeup` where there is none
    cdef uint32_t signal

    cdef bint supports_threads(self) noexcept nogil
    cdef int acquire(self) except -1
    cdef int raise_in_use(self) except -1
    cdef void release(self) noexcept

    cdef message_t *poll(self, uint32_t run_id) noexcept nogil
    cdef message_t *wait(self, uint32_t run_id, int64_t until_ns) noexcept nogil
    cdef void backoff_wait(self) noexcept nogil
    cdef void wake_nogil(self) noexcept nogil
    cdef int64_t now(self) noexcept nogil

    cdef int send(self, message_t *m) noexcept nogil
    cdef int post(self, message_t *m) except -1
    cdef int pending(self) noexcept nogil
    cdef int release_sent(self) except -1
    cdef int check(self) except -1
    cdef void fail(self, int code) noexcept nogil

    cdef void mark_failed(self, int peer) noexcept nogil
    cdef int take_lost(self) except -2
    cdef int update_membership(self) except -1
    cdef int fail_terminated(self) except -1
    cdef bint data_missing(self) except -1

    cdef uint64_t *begun_slot(self) noexcept nogil
    cdef uint32_t *signal_slot(self) noexcept nogil
    cdef int64_t begun_by(self, int peer, uint32_t run_id) noexcept nogil
