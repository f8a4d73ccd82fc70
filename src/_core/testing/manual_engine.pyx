"""An engine that a test drives event by event, in place of the loops of `runtime`."""
from bsbpool._core.scheduling.data_items cimport IS_KEPT, STAYS_THERE, data_item_of
from bsbpool._core.scheduling.dispatcher cimport dispatcher_start_next, dispatcher_submit
from bsbpool._core.scheduling.dispatcher_tables cimport (
    ADDED,
    REFUSE_JOB,
    SEND_GANG,
    SEND_JOB,
    SEND_SKIP,
    TRACKED,
    action_t,
    change_t,
)
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.engine_options cimport JobSpec
from bsbpool._core.scheduling.gang_tables cimport NO_GANG
from bsbpool._core.scheduling.gangs cimport gang_give_up, gang_member_done
from bsbpool._core.scheduling.special cimport special_t
from bsbpool._core.scheduling.worker_queues cimport (
    queues_can_steal,
    queues_done,
    queues_retry,
    queues_stolen,
)
from bsbpool._core.scheduling.workers cimport workers_set_ahead
from bsbpool._core.vector cimport ints_copy, ints_free, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free

from bsbpool._core.scheduling.status import terminal

_TERMINAL = terminal()
_ACTIONS = {
    SEND_JOB: "SEND_JOB", SEND_SKIP: "SEND_SKIP", REFUSE_JOB: "REFUSE_JOB",
    SEND_GANG: "SEND_GANG",
}


cdef class ManualEngine(Engine):
    """An `Engine` with the events that the loops otherwise pass to the dispatcher themselves."""

    def set_ahead(self, int64_t ns):
        """Set how much work is sent ahead to a worker, as it is with many workers."""
        workers_set_ahead(&self.d.workers, ns)

    @property
    def hold_ns(self):
        """For how long workers may hold back replies."""
        return self.d.workers.hold_ns

    def submit(
        self, deps=(), joins=(), int32_t cache_set=-1, bint tracked=False, JobSpec spec=None
    ):
        """Add a job; return its id.

        Parameters
        ----------
        deps : iterable of int, optional
            The jobs that must succeed first.
        joins : iterable of int, optional
            The joins that must be met first, each at most once.
        cache_set : int, optional
            The set of cache items that the job needs; -1 for none.
        tracked : bool, optional
            Whether to record its status changes.
        spec : JobSpec, optional
            Its options. Their joins are not used.
        """
        cdef ints_t ids = ints_t(NULL, 0, 0)
        cdef special_t *entry = NULL
        cdef ints_t join_ids = ints_t(NULL, 0, 0)
        cdef int32_t job
        if not -1 <= cache_set < self.d.cache.n_sets:
            raise IndexError(
                f"cache set {cache_set} does not exist; there are {self.d.cache.n_sets} cache sets"
            )
        ints_copy(&join_ids, joins, self.d.graph.n_joins)
        try:
            ints_copy(&ids, deps, self.d.n_jobs)
            if spec is not None:
                entry = spec.prepared()
            job = dispatcher_submit(
                &self.d, ids.data, ids.size, join_ids.data, join_ids.size, cache_set,
                TRACKED if tracked else 0, entry,
            )
        finally:
            ints_free(&ids)
            ints_free(&join_ids)
        self.raise_fault()
        return job

    def add_data_item(self, int32_t job):
        """Add the data item of the result of a job; return its number."""
        cdef int32_t item
        self.check_job(job)
        item = data_item_of(&self.d, job)
        if item < 0:
            raise MemoryError()
        return item

    def keep_on_worker(self, int32_t job):
        """Let the worker of a job keep a large result, and not send it."""
        self.check_job(job)
        self.d.jobs[job].flags |= STAYS_THERE

    def note_kept(self, int32_t job):
        """Note that the worker of a job keeps its result; called before the job ends."""
        self.check_job(job)
        self.d.jobs[job].flags |= IS_KEPT

    def start_next(self):
        """Make the oldest ready job RUNNING in this process; return it, or None."""
        cdef int32_t job = dispatcher_start_next(&self.d)
        self.raise_fault()
        return None if job < 0 else job

    def assign(self):
        """Assign ready jobs to workers; return the actions as (kind, worker, job).

        The jobs of REFUSE_JOB actions must then be ended with `finish`.
        """
        cdef action_t *actions
        cdef int64_t n = self.detach_actions(&actions)
        cdef int64_t i
        try:
            return [
                (_ACTIONS[actions[i].kind], actions[i].worker, actions[i].job)
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

    def retry(self, int32_t worker, int64_t job, double run_ns=1000.0):
        """Report that the first job of a worker has failed and is to run again."""
        self.check_job(job)
        queues_retry(&self.d, worker, <int32_t>job, run_ns)
        self.raise_fault()

    def member_done(self, int32_t worker, int64_t job, outcome, bint retries=False):
        """Report that a worker has ended its part of a job that runs on several ones."""
        if outcome not in _TERMINAL:
            raise ValueError(f"outcome must be a terminal status, got {outcome!r}")
        self.check_job(job)
        gang_member_done(
            &self.d, worker, <int32_t>job, <uint8_t>outcome, retries, False
        )
        self.raise_fault()

    def give_up(self, int64_t job):
        """End a job that has failed on a worker, while other workers have not left it."""
        self.check_job(job)
        gang_give_up(&self.d, <int32_t>job)
        self.raise_fault()

    def can_steal(self):
        """Return whether workers should be asked for jobs that they have not begun."""
        return bool(queues_can_steal(&self.d))

    def reserved(self):
        """Return the workers that are reserved for a job on several ones."""
        return [i for i in range(self.d.workers.n) if self.d.workers.slots[i].reserved]

    def reserved_for(self):
        """Return the job for which workers are reserved, or None."""
        cdef int32_t entry = self.d.special.gangs.next_up
        return None if entry == NO_GANG else self.d.special.entries[entry].job

    def credit(self, int32_t worker):
        """Return the number of jobs that a worker may hold."""
        self.check_worker(worker)
        return self.d.workers.slots[worker].credit

    def set_time(self, int64_t now):
        """Set the time in ns, at which jobs become ready and are assigned."""
        self.d.special.now = now

    def wake_at(self):
        """Return the time at which jobs stop to wait for preferred workers; 0 for never."""
        return self.d.special.wake_at

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
