# The interface of a network. No MPI type appears here: MPI and the simulated network both
# fill in this table.
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t

cdef enum:
    # Errors that no MPI returns.
    TRANSPORT_NO_MEMORY = -100
    TRANSPORT_MALFORMED = -101

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
    void (*mark_failed)(transport_t *, int peer) noexcept nogil
    # The time in ns, and how to sleep. NULL: the machine's own.
    int64_t (*now)(transport_t *) noexcept nogil
    void (*sleep)(transport_t *, int64_t ns) noexcept nogil
    # Whether one thread may use it after the other.
    bint threads

cdef class Transport:
    cdef transport_t table
