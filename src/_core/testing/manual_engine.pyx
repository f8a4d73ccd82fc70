"""An engine that a test drives event by event, in place of the loops of `runtime`."""
from bsbpool._core.scheduling.dispatcher cimport (
    ADDED,
    SEND_JOB,
    TRACKED,
    action_t,
    change_t,
    dispatcher_start_next,
    dispatcher_submit,
)
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.worker_queues cimport queues_done, queues_stolen
from bsbpool._core.vector cimport ints_copy, ints_free, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free

from bsbpool._core.scheduling.status import terminal

_TERMINAL = terminal()


cdef class ManualEngine(Engine):
    """An `Engine` with the events that the loops otherwise pass to the dispatcher themselves."""

    def submit(self, deps=(), int32_t join=-1, int32_t cache_set=-1, bint tracked=False):
        """Add a job; return its id.

        Parameters
        ----------
        deps : iterable of int, optional
            The jobs that must succeed first.
        join : int, optional
            A join that must be met first; -1 for none.
        cache_set : int, optional
            The set of cache items that the job needs; -1 for none.
        tracked : bool, optional
            Whether to record its status changes.
        """
        cdef ints_t ids = ints_t(NULL, 0, 0)
        cdef int32_t job
        if not -1 <= join < self.d.graph.n_joins:
            raise IndexError(f"join {join} does not exist; there are {self.d.graph.n_joins} joins")
        if not -1 <= cache_set < self.d.cache.n_sets:
            raise IndexError(
                f"cache set {cache_set} does not exist; there are {self.d.cache.n_sets} cache sets"
            )
        ints_copy(&ids, deps, self.d.n_jobs)
        job = dispatcher_submit(
            &self.d, ids.data, ids.size, join, cache_set, TRACKED if tracked else 0
        )
        ints_free(&ids)
        self.raise_fault()
        return job

    def start_next(self):
        """Make the oldest ready job RUNNING in this process; return it, or None."""
        cdef int32_t job = dispatcher_start_next(&self.d)
        self.raise_fault()
        return None if job < 0 else job

    def assign(self):
        """Assign ready jobs to workers; return the actions as (kind, worker, job)."""
        cdef action_t *actions
        cdef int64_t n = self.detach_actions(&actions)
        cdef int64_t i
        try:
            return [
                ("SEND_JOB" if actions[i].kind == SEND_JOB else "SEND_SKIP",
                 actions[i].worker, actions[i].job)
                for i in range(n)
            ]
        finally:
            free(actions)

    def done(self, int32_t worker, int64_t job, outcome, double run_ns=1000.0):
        """Report that a worker has ended the first job of its queue.

        Parameters
        ----------
        worker, job : int
            The worker and the job.
        outcome : int
            A terminal `Status`; CANCELLED if the worker skipped the job.
        run_ns : float, optional
            The run time in nanoseconds.
        """
        if outcome not in _TERMINAL:
            raise ValueError(f"outcome must be a terminal status, got {outcome!r}")
        self.check_job(job)
        queues_done(&self.d, worker, <int32_t>job, <uint8_t>outcome, run_ns)
        self.raise_fault()

    def give_back(self, int32_t worker, int64_t job):
        """Report that a worker gave back a job that it had not begun."""
        self.check_job(job)
        queues_stolen(&self.d, worker, <int32_t>job)
        self.raise_fault()

    def pop_changes(self):
        """Return the changes recorded since the last call as (job, old, new).

        The addition of a job is not among them.
        """
        cdef change_t *changes
        cdef int64_t n = self.detach_changes(&changes)
        cdef int64_t i
        try:
            return [
                (changes[i].job, self.statuses[changes[i].old], self.statuses[changes[i].new])
                for i in range(n)
                if changes[i].old != ADDED
            ]
        finally:
            free(changes)
