"""The base class of transports, which holds the table of functions."""
from libc.string cimport memset


cdef class Transport:
    """A network between the ranks of one communicator. Rank 0 is the main rank."""

    def __cinit__(self, *args, **kwargs):
        memset(&self.table, 0, sizeof(transport_t))
