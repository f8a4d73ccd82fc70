"""The base class that carries a filled-in transport table."""
from libc.string cimport memset


cdef class Transport:
    """A network between the ranks of one communicator. Rank 0 is the main rank."""

    def __cinit__(self, *args, **kwargs):
        memset(&self.table, 0, sizeof(transport_t))
