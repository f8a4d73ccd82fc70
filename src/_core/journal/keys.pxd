from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.journal.siphash cimport siphash_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


# The key of a job of the pool, by the number of the job.
ctypedef struct job_key_t:
    uint8_t[16] key
    uint32_t attempts  # in earlier runs of the program
    uint8_t has_key
    uint8_t is_silent  # whether no end is recorded: it was resumed, or is not to be recorded
    uint8_t is_resumed
    uint8_t varies  # see `JobJournal.varies`
    uint8_t is_not_journaled  # the option of the user


cdef class JobKeys:
    cdef job_key_t *jobs
    cdef int64_t n
    cdef int64_t capacity
    # The keys that were made, by their first 8 bytes; 0 for a free slot. Two keys that agree in
    # these do so in each run, so that they are still the same in each.
    cdef uint64_t *made
    cdef int64_t made_capacity  # a power of 2
    cdef int64_t n_made
    cdef dict repeats  # how often a key was made again
    cdef int64_t n_not_journaled  # jobs that are not journaled and that were arguments
    cdef dict functions  # digests of functions that cannot change
    cdef object last_function  # one of these
    cdef object last_function_digest
    cdef object digest_function
    cdef object digest_other
    cdef object pool
    cdef object last_deps
    cdef uint8_t[16] last_deps_digest

    cdef uint32_t count(self, const uint8_t *key) except? 0xFFFFFFFF
    cdef int forget(self, const uint8_t *key) except -1
    cdef int resize(self) except -1
    cdef job_key_t *entry(self, int64_t number) except NULL
    cdef int make(self, Handle job, object deps, object version, uint8_t *key) except -1
    cdef int complete(self, uint8_t *key) except -1
    cdef int make_named(self, str name, uint8_t *key) except -1
    cdef int encode_dependencies(self, siphash_t *s, object deps) except -1
    cdef int encode_function(self, siphash_t *s, Handle job) except -1
    cdef int encode(self, siphash_t *s, object value, int depth) except -1
    cdef int encode_items(self, siphash_t *s, object items, int depth) except -1
    cdef int encode_unordered(self, siphash_t *s, object items, int depth) except -1
    cdef int encode_job(self, siphash_t *s, Handle job) except -1
