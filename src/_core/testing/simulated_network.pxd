# Messages in transit, and the endpoints of the network where they wait to be received.
from bsbpool._core.testing.deterministic_scheduler cimport TurnScheduler, rank_t
from bsbpool._core.comm.transport cimport Transport
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t

ctypedef struct in_flight_t:
    message_t *message  # `peer` says who sent it
    int64_t due
    in_flight_t *next

# One rank's end of the network.
ctypedef struct end_t:
    mail_t *mail
    rank_t *rank
    int half  # it dies while this message with parts is half sent
    int keep  # how many of its messages to each rank arrive after its failure; -1: all
    in_flight_t *inbox  # by `due`
    message_t *sent
    int64_t *latest  # by sender: when its last in flight is due

ctypedef struct mail_t:
    end_t *ends
    int64_t latency
    bint wakeup
    bint slow
    bint hasty  # an injected fault: failures are reported before the last messages are read
    bint disorder  # another: messages of one sender overtake each other

cdef class SimulatedNetwork(TurnScheduler):
    cdef mail_t mail

    cdef end_t *end(self, int number) except NULL
    cdef void discard_pending(self, int number) noexcept nogil

cdef class SimulatedTransport(Transport):
    cdef SimulatedNetwork network
