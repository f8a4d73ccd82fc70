from libc.stdint cimport int64_t, uint8_t, uint32_t


# What is known of a job with a key.
ctypedef struct entry_t:
    uint8_t[16] key
    int64_t offset  # of its last ENDED record; -1: there is none
    uint32_t attempts
    uint8_t status
    uint8_t is_used  # whether the slot of the table has an entry
    uint8_t was_seen  # whether the program has queued the job
    uint8_t payload_kind


cdef class KeyTable:
    cdef entry_t *entries
    cdef int64_t capacity  # a power of 2
    cdef readonly int64_t n

    cdef entry_t *find(self, const uint8_t *key) noexcept nogil
    cdef entry_t *find_or_add(self, const uint8_t *key) except NULL
    cdef int resize(self) except -1
    cdef int enter(self, const uint8_t *body_at, int64_t offset) except -1
