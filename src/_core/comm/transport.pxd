# The interface of a network between ranks, as a table of functions. MPI, the network inside one
# process and the simulated network each fill in such a table. No MPI type appears here.
from bsbpool._core.comm.backoff cimport now_ns, sleep_ns
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t

cdef enum:
    # Error codes besides those of MPI.
    TRANSPORT_NO_MEMORY = -100
    TRANSPORT_MALFORMED = -101

ctypedef struct transport_t:
    void *self
    int n_ranks
    # Takes ownership of a message and starts to send it. Returns 0, or a negative error code.
    int (*send)(transport_t *, message_t *) noexcept nogil
    # Returns a complete message, or NULL when none has arrived. Messages of one peer arrive in the
    # order in which they were sent. `error` is set to a negative code when the network failed; the
    # failure of a peer is not such an error.
    message_t *(*poll)(transport_t *, int *error) noexcept nogil
    # Returns a message whose send is complete, so that it can be released, or NULL.
    message_t *(*sent)(transport_t *) noexcept nogil
    # Returns how many sends are not complete.
    int (*pending)(transport_t *) noexcept nogil
    # Whether a message is being sent or received, so that the transport must be polled often.
    bint (*is_active)(transport_t *) noexcept nogil
    # Returns a peer that was lost since the last call, or -1. A peer is lost when it has failed and
    # all of its complete messages have been returned by `poll`. Nothing arrives from it afterwards,
    # and messages to it are dropped.
    int (*next_lost)(transport_t *) noexcept nogil
    # Marks a peer as failed, though the network has not reported it.
    void (*mark_failed)(transport_t *, int peer) noexcept nogil
    # The clock in ns, and how to sleep. NULL: those of the machine.
    int64_t (*now)(transport_t *) noexcept nogil
    void (*sleep)(transport_t *, int64_t ns) noexcept nogil
    # Whether several threads may use the transport, one at a time.
    bint threads
    # Whether `send` wakes the rank that gets the message.
    bint wakes

cdef inline int64_t transport_now(transport_t *t) noexcept nogil:
    """Return the time in ns."""
    return now_ns() if t.now == NULL else t.now(t)

cdef inline void transport_sleep(transport_t *t, int64_t ns) noexcept nogil:
    if t.sleep == NULL:
        sleep_ns(ns)
    else:
        t.sleep(t, ns)

cdef class Transport:
    cdef transport_t table
