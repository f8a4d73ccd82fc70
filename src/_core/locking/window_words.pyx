"""Words that all ranks of a communicator change atomically, in an MPI window."""
import numpy as np

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer


cdef class WindowWords:
    """Some words of each rank. Collective to make.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator of all ranks.
    n : int
        The number of words of each rank, zeros at first.
    mpi : module, optional
        Has the names of `mpi4py.MPI` that are used; for tests.
    """

    def __init__(self, comm, int n, mpi=None):
        if mpi is None:
            from mpi4py import MPI as mpi
        self.rank = comm.Get_rank()
        self.plus, self.nothing, self.assign = mpi.SUM, mpi.NO_OP, mpi.REPLACE
        self.iprobe = mpi.COMM_SELF.Iprobe
        self.given, self.compared, self.result = (np.zeros(1, np.int64) for _ in range(3))
        self.in_given, self.in_compared, self.in_result = self.given, self.compared, self.result
        self.window = mpi.Win.Allocate(n * 8, 8, mpi.INFO_NULL, comm)
        # With separate copies for MPI and the process, the own words need MPI's operations as well.
        self.is_direct = self.window.Get_attr(mpi.WIN_MODEL) == mpi.WIN_UNIFIED
        PyObject_GetBuffer(self.window.tomemory(), &self.view, PyBUF_WRITABLE)
        self.words = <int64_t *>self.view.buf
        for i in range(n):
            self.words[i] = 0
        self.window.Lock_all(mpi.MODE_NOCHECK)
        self.window.Sync()
        comm.Barrier()

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    def free(self):
        """Free the window. Collective."""
        self.words = NULL
        self.is_direct = False
        PyBuffer_Release(&self.view)
        self.window.Unlock_all()
        self.window.Free()

    def progress(self):
        """Let MPI complete the operations of other ranks on the words of this one."""
        self.iprobe()

    cdef int set_own(self, int word, int64_t value) except -1:
        """Set a word of this rank that no other rank accesses now."""
        if self.is_direct:
            store_word(&self.words[word], value)
            self.window.Sync()
        else:
            self.fetch(self.rank, word, value, self.assign)
        return 0

    cdef int64_t get(self, int rank, int word) except? -1:
        if rank == self.rank and self.is_direct:
            return load_word(&self.words[word])
        return self.fetch(rank, word, 0, self.nothing)

    cdef int64_t fetch(self, int rank, int word, int64_t value, op) except? -1:
        """Apply an operation to a word; return its value before."""
        self.in_given[0] = value
        self.window.Fetch_and_op(self.given, self.result, rank, word, op)
        self.window.Flush(rank)
        return self.in_result[0]

    cdef int64_t replace(self, int rank, int word, int64_t expected, int64_t value) except? -1:
        """Set a word if it has the expected value; return its value before."""
        self.in_compared[0] = expected
        self.in_given[0] = value
        self.window.Compare_and_swap(self.given, self.compared, self.result, rank, word)
        self.window.Flush(rank)
        return self.in_result[0]
