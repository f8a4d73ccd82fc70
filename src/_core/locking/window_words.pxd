from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t

cdef extern from *:
    """
    static int64_t load_word(int64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static void store_word(int64_t *word, int64_t value) {
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
    }
    """
    int64_t load_word(int64_t *) nogil
    void store_word(int64_t *, int64_t) nogil

cdef class WindowWords:
    cdef object window, iprobe, plus, nothing, assign, given, compared, result
    cdef int64_t[::1] in_given, in_compared, in_result
    cdef Py_buffer view
    cdef int64_t *words
    cdef int rank
    cdef bint is_direct

    cdef int set_own(self, int word, int64_t value) except -1
    cdef int64_t get(self, int rank, int word) except? -1
    cdef int64_t fetch(self, int rank, int word, int64_t value, op) except? -1
    cdef int64_t replace(self, int rank, int word, int64_t expected, int64_t value) except? -1
