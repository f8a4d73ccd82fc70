from bsbpool._core.comm.relay_bundles cimport relay_t
from bsbpool._core.comm.transport cimport Transport
from bsbpool._core.comm.wakeup cimport Wakeup

cdef class RelayTransport(Transport):
    cdef readonly Transport base
    cdef Wakeup wakeup  # of `relay`
    cdef relay_t relay

    cdef int set_leader(self, int worker, int leader) except -1
    cdef bint has_leader(self) noexcept nogil
    cdef bint all_confirmed(self) noexcept nogil
    cdef int stop_relaying(self) noexcept nogil
    cdef bint relay_arrived(self) noexcept nogil
