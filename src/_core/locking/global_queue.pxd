from bsbpool._core.locking.node_lock cimport NodeLock
from bsbpool._core.locking.shared_page cimport lock_head_t
from bsbpool._core.locking.window_words cimport WindowWords
from libc.stdint cimport int64_t

cdef class GlobalQueue(WindowWords):
    cdef int64_t n_places, last_state
    cdef int master
    cdef bint polls, after_reader

    cpdef acquire(self, NodeLock node, bint write)
    cpdef give_back(self, NodeLock node)
    cpdef bint give_up(self, NodeLock node) except -1
    cdef int leave(self, lock_head_t *head) except -1
    cdef int resume(self, NodeLock node) except -1
    cdef int enter(self, lock_head_t *head) except -1
    cdef int link(self, lock_head_t *head) except -1
    cdef bint is_queued(self, lock_head_t *head) except? -1
    cdef int64_t next_place(self, int64_t place, int64_t longest_ns) except -1
    cdef int pass_on(self, int64_t place, int64_t how) except -1
    cdef bint count_reader(self, int64_t place) except -1
    cdef object wait_for_turn(self, int64_t place)
    cdef void pause(self, int64_t word, int64_t waited) noexcept nogil
    cdef object wait_for_readers(self)
