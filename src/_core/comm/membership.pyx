"""Who is there: which ranks are lost for good, and which are away.

A rank is *away* while it is inside a job of a run that did not wait for it. It gets no jobs of
later pools until it says that it has left that run. Both outlast pools.
"""
from bsbpool._core.vector cimport ints_free, ints_push
from libc.stdint cimport int32_t, uint32_t

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)


cdef class Membership:
    """The ranks of one communicator that cannot be counted on.

    Attributes
    ----------
    lost : set of int
        Ranks that have died.
    away : set of int
        Ranks that are inside a job whose run has ended.
    terminated : set of int
        Those of the lost that have said farewell: their processes end, or have.
    """

    def __cinit__(self):
        pthread_mutex_init(&self.mutex, NULL)
        self.lost = set()
        self.away = set()
        self.terminated = set()
        self.behind = {}

    def __dealloc__(self):
        ints_free(&self.returned)
        pthread_mutex_destroy(&self.mutex)

    def mark_away(self, int rank, uint32_t run_id):
        """Note that a rank is inside a job of an run id whose run has ended."""
        self.away.add(rank)
        self.behind[rank] = max(run_id, self.behind.get(rank, 0))

    cdef void record_return(self, int peer, uint32_t run_id) noexcept nogil:
        """Note that a rank says it has left an run id."""
        pthread_mutex_lock(&self.mutex)
        if ints_push(&self.returned, peer) == 0:
            if ints_push(&self.returned, <int32_t>run_id) < 0:
                self.returned.size -= 1
        pthread_mutex_unlock(&self.mutex)

    cdef int next_return(self) except -2:
        """Return a rank that was away and has come back, or -1."""
        cdef int peer
        cdef int run_id
        while self.returned.size:
            pthread_mutex_lock(&self.mutex)
            self.returned.size -= 2
            peer = self.returned.data[self.returned.size]
            run_id = self.returned.data[self.returned.size + 1]
            pthread_mutex_unlock(&self.mutex)
            # Others say so as well, when a run ends early; and it may have died since, or have
            # left an earlier run than the one it is inside of.
            if peer in self.away and run_id >= self.behind.get(peer, 0):
                self.away.discard(peer)
                return peer
        return -1

    cdef int record_loss(self, int peer) except -1:
        """Note that a rank has died."""
        self.lost.add(peer)
        self.away.discard(peer)
        return 0
