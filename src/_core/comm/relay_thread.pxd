from bsbpool._core.comm.demux cimport Demux
from bsbpool._core.comm.relay cimport RelayTransport
from posix.types cimport pid_t

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t

cdef class RelayThread:
    cdef Demux demux
    cdef RelayTransport relay
    cdef pthread_t thread
    cdef pid_t process
    cdef bint runs
    cdef volatile bint quits

    cdef void end(self) noexcept
    cdef void loop(self) noexcept nogil
