# Letters on their way, and the ends of the network where they wait to be taken.
from bsbpool._core.baton cimport Relay, rank_t
from bsbpool._core.transport cimport Transport, message_t
from libc.stdint cimport int64_t

ctypedef struct letter_t:
    message_t *message  # `peer` says who sent it
    int64_t due
    letter_t *next

# One rank's end of the network.
ctypedef struct end_t:
    mail_t *mail
    rank_t *rank
    int half  # it dies while this message with parts is half sent
    int keep  # how many letters to each rank outlive it; -1: all
    letter_t *inbox  # by `due`
    message_t *sent
    int64_t *latest  # by sender: when its last letter is due

ctypedef struct mail_t:
    end_t *ends
    int64_t latency
    bint bells
    bint slow
    bint hasty  # a planted fault: deaths are told before the last letters are read
    bint disorder  # another: letters of one sender overtake each other

cdef class VirtualNetwork(Relay):
    cdef mail_t mail

    cdef end_t *end(self, int number) except NULL
    cdef void bury(self, int number) noexcept nogil

cdef class VirtualTransport(Transport):
    cdef VirtualNetwork network
