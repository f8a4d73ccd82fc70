from bsbpool._core.bells cimport Bells
from bsbpool._core.epochs cimport epochs_t
from bsbpool._core.pause cimport pause_t
from bsbpool._core.roster cimport Roster
from bsbpool._core.transport cimport Transport, message_t, transport_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef class Channel:
    cdef readonly Transport transport
    cdef public object neighbours  # the processes of ranks beside this one, where they are known
    cdef pthread_mutex_t mutex  # for what is below: two threads may have pools here
    cdef transport_t *table
    cdef readonly Bells bells  # None: nobody can wake another
    cdef epochs_t epochs
    cdef pause_t pause
    cdef int error
    cdef volatile bint poked
    cdef bint occupied
    cdef unsigned long occupant  # the thread
    cdef Roster roster
    cdef uint64_t begun  # where there are no bells
    cdef uint32_t signal

    cdef int64_t now(self) noexcept nogil
    cdef void doze(self, int64_t ns) noexcept nogil
    cdef void nap(self) noexcept nogil
    cdef uint64_t *begun_place(self) noexcept nogil
    cdef uint32_t *signal_place(self) noexcept nogil
    cdef int64_t begun_by(self, int peer, uint32_t epoch) noexcept nogil
    cdef void bereave(self, int peer) noexcept nogil
    cdef int heed_farewells(self) except -1
    cdef int next_lost(self) except -2
    cdef void drop(self, message_t *message) noexcept nogil

    cdef void nudge(self) noexcept nogil
    cdef message_t *poll(self, uint32_t epoch) noexcept nogil
    cdef message_t *look(self, uint32_t epoch) noexcept nogil
    cdef void put_by(self, message_t *m) noexcept nogil
    cdef int pending(self) noexcept nogil
    cdef void skim(self) noexcept nogil
    cdef message_t *wait(self, uint32_t epoch, int64_t until_ns) noexcept nogil
    cdef message_t *rest(self, uint32_t epoch, int64_t until_ns) noexcept nogil
    cdef int64_t bedtime(self, int64_t until_ns) noexcept nogil
    cdef int send(self, message_t *message) noexcept nogil
    cdef int occupy(self) except -1
    cdef int refuse(self) except -1
    cdef void vacate(self) noexcept
    cdef int check(self) except -1
    cdef int post(self, message_t *message) except -1
    cdef int reap(self) except -1
