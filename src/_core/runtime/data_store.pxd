from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint8_t, uint32_t

# Data that this rank can send.
ctypedef struct held_t:
    int64_t id
    message_t *message  # the DATA message; each receiver is sent a copy that shares its parts
    int64_t spare  # how many references to `message.pinned` further copies can take without the GIL

# A pair of data and a rank: the rank that requests them, or the one with which they were lost.
ctypedef struct data_rank_t:
    int64_t id
    int64_t rank

ctypedef struct data_ranks_t:
    data_rank_t *data
    int64_t size
    int64_t capacity

cdef class DataStore:
    cdef Channel channel
    cdef uint32_t run_id
    cdef FrameReader reader
    cdef dict values  # by id: the pickle and its buffers
    cdef set forgotten  # data that are still to arrive, and not needed any more
    cdef held_t *held
    cdef int64_t n_held
    cdef int64_t held_capacity
    cdef message_t *arrived  # DATA messages that were not unpacked yet, oldest first
    cdef data_ranks_t requests  # that could not be answered yet
    cdef data_ranks_t lost

    cdef bint add_arrived(self, message_t *m) noexcept nogil
    cdef bint serve(self, int64_t id, int peer) noexcept nogil
    cdef bint note_lost(self, int64_t id, int64_t rank) noexcept nogil
    cdef bint has_work(self) noexcept nogil
    cdef int update(self) except -1
    cdef int finish(self) except -1
    cdef int keep(self, int64_t id, payload, list buffers) except -1
    cdef tuple keep_result(self, int64_t id, uint8_t flags, bytes payload, buffers)
    cdef bint has(self, int64_t id) except -1
    cdef tuple copy_of(self, int64_t id)
    cdef int forget(self, int64_t id) except -1
    cdef int64_t lost_with(self, int64_t id) noexcept nogil
    cdef held_t *find(self, int64_t id) noexcept nogil
    cdef int send_copy(self, held_t *h, int peer) noexcept nogil
    cdef void release(self, held_t *h) noexcept
