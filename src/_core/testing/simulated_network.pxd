# Messages in flight, and the endpoints of the network at which they wait to be received.
from bsbpool._core.testing.deterministic_scheduler cimport TurnScheduler, rank_t
from bsbpool._core.comm.transport cimport Transport
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t

ctypedef struct in_flight_t:
    message_t *message  # `peer` is the sender
    int64_t due
    in_flight_t *next

# The endpoint of one rank.
ctypedef struct endpoint_t:
    network_t *network
    rank_t *rank
    int parts_until_death  # it dies while it sends this message with parts, counted from 1
    int n_delivered  # how many of its messages to each rank arrive after its death; -1: all
    in_flight_t *inbox  # ordered by `due`
    message_t *sent
    int64_t *latest_due  # by sender: when its last message in flight is due

ctypedef struct network_t:
    endpoint_t *endpoints
    int64_t latency
    bint wakeup
    bint slow_sends
    # Injected faults
    bint reports_early  # failures are reported before the last messages have been received
    bint reorders  # messages of one sender overtake each other

cdef class SimulatedNetwork(TurnScheduler):
    cdef network_t network

    cdef endpoint_t *endpoint(self, int number) except NULL
    cdef void discard_pending(self, int number) noexcept nogil

cdef class SimulatedTransport(Transport):
    cdef SimulatedNetwork network
