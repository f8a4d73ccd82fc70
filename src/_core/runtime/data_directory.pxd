from bsbpool._core.bits cimport bits_t
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int64_t

cdef enum:
    MAIN_PLACE = -1  # in place of a worker: the main rank

cdef class Location:
    cdef int64_t key  # the id in messages
    cdef list places  # the workers that have the data, or will; in the order in which they got them
    cdef bits_t workers  # those of `places`
    cdef dict coming  # by worker that does not have the data yet: the one that sends them
    cdef bint is_tree  # whether a worker may be asked before it has the data

cdef class DataDirectory:
    cdef Engine engine
    cdef Outbox outbox
    cdef object callbacks
    cdef dict locations  # by id
    cdef dict leaving  # by key: dropped data that are still being sent
    cdef dict dropped  # by id: how often the data were dropped or lost
    cdef readonly dict lost  # by id of data that were lost: the rank

    cdef Location new_location(self, int64_t id)
    cdef int add_place(self, Location location, int worker) except -1
    cdef int note_dropped(self, int64_t id) except -1
    cdef int add_result(self, int worker, int64_t job, bint is_used) except -1
    cdef int confirm(self, int worker, int64_t key) except -1
    cdef int free_unused(self) except -1
    cdef int forget(self, int64_t id) except -1
    cdef int discard_worker(self, int worker) except -1
    cdef int source_of(self, Location location) except -2
    cdef int send(self, int64_t id, Location location, int source, int worker) except -1
    cdef int report_lost(self, Location location, int lost) except -1
    cdef int replace_sources(self, int64_t id, Location location, int lost) except -1
    cdef int put(self, int worker, int kind, int64_t id, int rank) except -1
