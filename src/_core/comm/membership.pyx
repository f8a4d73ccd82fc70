"""Which ranks of a communicator can run jobs: those that are neither lost nor away.

A rank is *failed* from when its death is reported: by MPI, by a `ProcessMonitor` or by another
rank. It is *lost* when it has failed and all of its messages have been received. A rank that has
announced its shutdown has *terminated*; a run counts it as failed, too.

A rank is *away* while it runs a job of a run that has ended without waiting for this job. It gets
no jobs of later runs until it reports, with LEAVE, that it has left that run. All of these states
outlast pools. The transport knows which ranks have failed; this class has the other states.
"""
from bsbpool._core.vector cimport ints_free, ints_push
from libc.stdint cimport int32_t, uint32_t

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)


cdef class Membership:
    """The ranks of one communicator that cannot run jobs.

    Attributes
    ----------
    lost : set of int
        Ranks that have failed or terminated, and whose messages have all been received.
    away : set of int
        Ranks that run a job of a run that has ended.
    terminated : set of int
        Ranks that have announced their shutdown during a run; they are lost, or soon will be.
    """

    def __cinit__(self):
        pthread_mutex_init(&self.mutex, NULL)
        self.lost = set()
        self.away = set()
        self.terminated = set()
        self.last_runs = {}

    def __dealloc__(self):
        ints_free(&self.returned)
        pthread_mutex_destroy(&self.mutex)

    def mark_away(self, int rank, uint32_t run_id):
        """Note that a rank runs a job of the run `run_id`, which has ended."""
        self.away.add(rank)
        self.last_runs[rank] = max(run_id, self.last_runs.get(rank, 0))

    cdef void record_return(self, int peer, uint32_t run_id) noexcept nogil:
        """Note that a rank reports that it has left a run."""
        pthread_mutex_lock(&self.mutex)
        if ints_push(&self.returned, peer) == 0:
            if ints_push(&self.returned, <int32_t>run_id) < 0:
                self.returned.size -= 1
        pthread_mutex_unlock(&self.mutex)

    cdef int take_return(self) except -2:
        """Return a rank that has returned since the last call, no longer away; -1 if none has."""
        cdef int peer
        cdef int run_id
        while self.returned.size:
            pthread_mutex_lock(&self.mutex)
            self.returned.size -= 2
            peer = self.returned.data[self.returned.size]
            run_id = self.returned.data[self.returned.size + 1]
            pthread_mutex_unlock(&self.mutex)
            # When a run ends early, ranks that were not away report it too. A rank that was away
            # may have failed since, or have left an earlier run than the one of its job.
            if peer in self.away and run_id >= self.last_runs.get(peer, 0):
                self.away.discard(peer)
                return peer
        return -1

    cdef int record_loss(self, int peer) except -1:
        """Note that a rank is lost."""
        self.lost.add(peer)
        self.away.discard(peer)
        return 0
