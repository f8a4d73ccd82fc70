# What a network must do for the pool. There is no MPI type here: MPI and the
# simulated cluster both fill in this table.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

ctypedef struct part_t:
    void *data
    uint64_t size

cdef enum:
    # Errors that no MPI returns.
    TRANSPORT_NO_MEMORY = -100
    TRANSPORT_MALFORMED = -101

# A frame and its parts, to or from a peer. Whoever holds the pointer owns it.
ctypedef struct message_t:
    int peer
    uint32_t n_parts
    uint8_t *frame
    uint64_t frame_size
    part_t *parts
    void *pinned  # the Python object that keeps sent parts alive; NULL: parts are malloc's
    message_t *next

ctypedef struct transport_t:
    void *self
    # Take a message and start to send it. 0, or a negative error.
    int (*send)(transport_t *, message_t *) noexcept nogil
    # Return a whole message, or NULL when none has arrived. Messages of one
    # peer come in the order sent. `error` becomes negative when the network failed.
    # A peer that dies is no failure: see `lost`.
    message_t *(*poll)(transport_t *, int *error) noexcept nogil
    # Return a message whose memory is not needed any more, or NULL.
    message_t *(*sent)(transport_t *) noexcept nogil
    # How many messages are still on their way out.
    int (*pending)(transport_t *) noexcept nogil
    # Whether a message is on its way in or out, and needs looking after.
    bint (*moving)(transport_t *) noexcept nogil
    # Return a peer that has died since the last call, or -1. All that had come from it
    # whole was handed out before; nothing comes any more, and what is sent to it is dropped.
    int (*lost)(transport_t *) noexcept nogil
    # Take somebody's word for it that a peer has died.
    void (*give_up)(transport_t *, int peer) noexcept nogil
    # The time in ns, and how to sleep. NULL: the machine's own.
    int64_t (*now)(transport_t *) noexcept nogil
    void (*sleep)(transport_t *, int64_t ns) noexcept nogil
    # Whether one thread may use it after the other.
    bint threads

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    #define PART_HUGE_PAGE ((size_t)1 << 21)
    /* Memory for a part, to be freed with free(). Touching 100 MB in pages of 4 KiB for
       the first time takes longer than receiving them. */
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

cdef class Transport:
    cdef transport_t table

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
    """Free a message. Parts that are pinned belong to `m.pinned`, which the caller releases."""
    cdef uint32_t i
    if m.pinned == NULL:
        for i in range(m.n_parts):
            free(m.parts[i].data)
    free(m.parts)
    free(m.frame)
    free(m)
