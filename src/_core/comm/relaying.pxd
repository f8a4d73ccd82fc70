from bsbpool._core.comm.demux cimport Demux
from bsbpool._core.comm.relay cimport RelayTransport
from bsbpool._core.comm.relay_thread cimport RelayThread
from bsbpool._core.comm.transport cimport Transport
from bsbpool._core.comm.waiter cimport Waiter
from libc.stdint cimport uint32_t

cdef class Relaying:
    cdef Demux demux
    cdef Waiter waiter
    cdef RelayTransport relay  # None: the transport relays no messages
    cdef RelayThread thread  # None: there is none
    cdef public object choice  # for the caller of `set_leaders`; None after `stop`
    cdef dict leaders  # as given to `set_leaders`; None: they are not in use

    cdef Transport network(self)
    cdef int start_thread(self) noexcept
    cdef int confirm(self, uint32_t run_id) except -1
    cdef int await_confirmations(self) except -1
    cdef int stop(self) except -1
