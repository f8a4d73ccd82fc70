# The results that other jobs have as arguments. They are data items, see `cache_refs`; their jobs
# have flags, besides those of `job_flag`.
from bsbpool._core.scheduling.cache_refs cimport cache_add_data
from bsbpool._core.scheduling.dispatcher_tables cimport dispatcher_t
from libc.stdint cimport int32_t, uint8_t

cdef enum:
    KEEPS_RESULT = 16  # its worker keeps a large result, since other jobs need it
    STAYS_THERE = 32  # its worker keeps a large result, and does not send it to the main rank
    DATA_FLAGS = 48
    IS_KEPT = 64  # its worker keeps its result


cdef inline int32_t data_item_of(dispatcher_t *d, int32_t job) noexcept nogil:
    """Add the data item of a job's result; return its number, or a negative number."""
    d.jobs[job].flags |= KEEPS_RESULT
    return cache_add_data(&d.cache, job)
