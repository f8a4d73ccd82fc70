from bsbpool._core.jobs.times cimport times_t


cdef class JobTimes:
    cdef times_t times
