# A message in memory: a frame and its parts.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

ctypedef struct part_t:
    void *data
    uint64_t size

# A frame and its parts, to or from a peer. The function that holds the pointer owns the message.
ctypedef struct message_t:
    int peer
    uint32_t n_parts
    uint8_t *frame
    uint64_t frame_size
    part_t *parts
    void *pinned  # a Python object that owns the parts; NULL if they are from malloc
    message_t *next

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    #define PART_HUGE_PAGE ((size_t)1 << 21)
    /* Allocate memory for a part, to be freed with free(). Large parts get huge pages: the first
       access to 100 MB in pages of 4 KiB takes longer than receiving them. */
    static inline void *part_alloc(uint64_t size) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (size >= 2 * PART_HUGE_PAGE) {
            void *data = NULL;
            if (posix_memalign(&data, PART_HUGE_PAGE, (size_t)size)) return NULL;
            madvise(data, (size_t)size, MADV_HUGEPAGE);
            return data;
        }
    #endif
        return malloc((size_t)size + (size == 0));
    }
    """
    void *part_alloc(uint64_t) nogil


cdef inline message_t *message_new(int peer, uint32_t n_parts) noexcept nogil:
    cdef message_t *m = <message_t *>calloc(1, sizeof(message_t))
    if m == NULL:
        return NULL
    m.peer = peer
    m.n_parts = n_parts
    if n_parts:
        m.parts = <part_t *>calloc(n_parts, sizeof(part_t))
        if m.parts == NULL:
            free(m)
            return NULL
    return m

cdef inline void message_free(message_t *m) noexcept nogil:
    """Free a message. If `m.pinned` is not NULL, it owns the parts, and the caller releases it."""
    cdef uint32_t i
    if m.pinned == NULL:
        for i in range(m.n_parts):
            free(m.parts[i].data)
    free(m.parts)
    free(m.frame)
    free(m)
