"""The table of times of a pool, and the counters of its workers, for Python."""
from bsbpool._core.comm.backoff cimport now_ns
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.jobs.times cimport job_times_t
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.workers cimport worker_t
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free


cdef class JobTimes:
    """The times of the jobs of a pool, which are noted from now on.

    Parameters
    ----------
    pool : Submitter
        The pool.
    """

    def __init__(self, Submitter pool not None):
        if pool.times != NULL:
            raise RuntimeError("the pool has a table of times already")
        pool.times_owner = self
        pool.times = &self.times

    def __dealloc__(self):
        free(self.times.jobs)
        free(self.times.earlier)

    def entry(self, int64_t job):
        """Return what is known of a job.

        Returns
        -------
        tuple
            When it was submitted, started and received, in ns of the main rank's monotonic clock
            (0: not yet); the run time in ns; the bytes of its arguments and of its result; the
            rank that ran it (-1: none); how often it ran to its end.
        """
        cdef job_times_t entry
        if not 0 <= job < self.times.n:
            return 0, 0, 0, 0, 0, 0, -1, 0
        entry = self.times.jobs[job]
        return (
            entry.submitted_ns, entry.started_ns, entry.received_ns, entry.run_ns,
            entry.bytes_in, entry.bytes_out, entry.rank, entry.attempts,
        )

    @staticmethod
    def now():
        """Return the present time of that clock in ns."""
        return now_ns()


def worker_counters(Engine engine not None, int32_t worker):
    """Return the counters of a worker.

    Returns
    -------
    tuple
        The length of its queue, with the job that it runs; the number of jobs that it has run, and
        the sum of their run times in ns; its largest resident memory in KiB; whether it gets jobs.
    """
    cdef worker_t *slot
    engine.check_worker(worker)
    slot = &engine.d.workers.slots[worker]
    available = bool(slot.available or slot.reserved)
    return slot.in_flight, slot.n_done, slot.busy_ns, slot.peak_kib, available
