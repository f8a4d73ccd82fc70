"""The lock of all nodes: a queue of ranks in MPI windows.

The queue is that of Mellor-Crummey and Scott (ACM TOCS 9, 1991, doi:10.1145/103727.103729) with the
atomic operations of MPI: the window of the master holds the last rank of the queue; every rank in
the queue has a word with the rank that follows, and a word that its predecessor clears. A writer
stays at the head of the queue while it writes, a reader only until it is counted.

No thread polls. A window of `Win.Allocate` is accessed through shared memory or by the network
adapter where the MPI library supports that; else operations complete when the target calls MPI.

This module is compiled so that signal handlers run only where it calls PyErr_CheckSignals: a rank
that left the queue anywhere else would block all ranks behind it.
"""
import numpy as np

from bsbpool._core.comm.backoff cimport sleep_ns
from libc.stdint cimport int64_t

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    # The words of a window; the first two are used in the master's.
    TAIL = 0
    READERS = 1
    FOLLOWING = 2
    MUST_WAIT = 3

    SPINS = 200
    FIRST_SLEEP_NS = 1_000
    LONGEST_SLEEP_NS = 50_000


cdef class GlobalQueue:
    """The queue, as one rank sees it. Collective to make.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator of all ranks.
    master : int
        The rank in whose window the end of the queue and the number of readers are.
    """

    cdef object mpi, window, words, given, compared, result
    cdef int master, rank

    def __init__(self, comm, int master):
        from mpi4py import MPI

        self.mpi, self.master, self.rank = MPI, master, comm.Get_rank()
        self.window = MPI.Win.Allocate(4 * 8, 8, MPI.INFO_NULL, comm)
        self.words = np.frombuffer(self.window.tomemory(), np.int64)
        self.words[:] = 0
        self.given, self.compared, self.result = (np.zeros(1, np.int64) for _ in range(3))
        self.window.Lock_all(MPI.MODE_NOCHECK)
        self.window.Sync()
        comm.Barrier()

    def take(self, bint write):
        """Wait for access to the lock.

        Returns
        -------
        int
            The rank that `give_back` needs.

        Raises
        ------
        BaseException
            An error of a signal handler, such as KeyboardInterrupt, once the rank had its turn: it
            cannot leave the queue before. The access is then given back.
        """
        error = self.enter()
        if write and error is None:
            error = self.wait_until_zero(self.master, READERS)
        if error is not None:
            self.pass_on(self.rank)
            raise error
        if not write:
            self.fetch(self.master, READERS, 1, self.mpi.SUM)
            self.pass_on(self.rank)
        return self.rank

    def give_back(self, bint write, int owner):
        """Give up the access that the rank `owner` of this node has taken."""
        if write:
            self.pass_on(owner)
        else:
            self.fetch(self.master, READERS, -1, self.mpi.SUM)

    def free(self):
        """Free the windows. Collective."""
        self.words = None
        self.window.Unlock_all()
        self.window.Free()

    cdef object enter(self):
        """Wait for the head of the queue; return an error of a signal handler."""
        cdef int64_t before
        self.set(self.rank, FOLLOWING, 0)
        self.set(self.rank, MUST_WAIT, 1)
        before = self.set(self.master, TAIL, self.rank + 1)
        if before == 0:
            return None
        self.set(<int>before - 1, FOLLOWING, self.rank + 1)
        return self.wait_until_zero(self.rank, MUST_WAIT, may_leave=False)

    cdef int pass_on(self, int owner) except -1:
        cdef int64_t following = self.get(owner, FOLLOWING)
        cdef int64_t pause = FIRST_SLEEP_NS
        if following == 0:
            if self.replace(self.master, TAIL, owner + 1, 0) == owner + 1:
                return 0  # the queue is empty
            while following == 0:  # another rank is between its two operations
                following = self.get(owner, FOLLOWING)
                with nogil:
                    sleep_ns(pause)
        self.set(<int>following - 1, MUST_WAIT, 0)
        return 0

    cdef object wait_until_zero(self, int rank, int word, bint may_leave=True):
        """Wait; return an error of a signal handler, at once if the rank may leave then."""
        cdef int64_t pause = FIRST_SLEEP_NS
        cdef int n = 0
        error = None
        while self.get(rank, word):
            n += 1
            if n <= SPINS:
                continue
            with nogil:
                sleep_ns(pause)
            pause = min(2 * pause, <int64_t>LONGEST_SLEEP_NS)
            try:
                PyErr_CheckSignals()
            except BaseException as raised:
                error = raised
                if may_leave:
                    break
        return error

    # Atomic operations

    cdef int64_t get(self, int rank, int word) except? -1:
        return self.fetch(rank, word, 0, self.mpi.NO_OP)

    cdef int64_t set(self, int rank, int word, int64_t value) except? -1:
        return self.fetch(rank, word, value, self.mpi.REPLACE)

    cdef int64_t fetch(self, int rank, int word, int64_t value, op) except? -1:
        """Apply an operation to a word; return its value before."""
        self.given[0] = value
        self.window.Fetch_and_op(self.given, self.result, rank, word, op)
        self.window.Flush(rank)
        return self.result[0]

    cdef int64_t replace(self, int rank, int word, int64_t expected, int64_t value) except? -1:
        """Set a word if it has the expected value; return its value before."""
        self.compared[0] = expected
        self.given[0] = value
        self.window.Compare_and_swap(self.given, self.compared, self.result, rank, word)
        self.window.Flush(rank)
        return self.result[0]
