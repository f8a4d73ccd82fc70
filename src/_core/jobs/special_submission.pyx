"""Queueing of jobs with options."""
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.input_items cimport with_input_items
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.scheduling.dispatcher cimport dispatcher_submit
from bsbpool._core.scheduling.dispatcher_tables cimport TRACKED
from bsbpool._core.scheduling.engine_options cimport JobSpec
from bsbpool._core.scheduling.special cimport special_t
from bsbpool._core.vector cimport ints_copy, ints_free, ints_push, ints_t
from libc.stdint cimport int32_t


cdef class SpecialSubmission(JobSpec):
    """Options with which jobs can be added to a pool."""

    def submit(
        self, Submitter pool not None, Handle job not None, int32_t cache_set, bint tracked=False
    ):
        """Add a job to its pool.

        Parameters
        ----------
        pool : Submitter
            The pool.
        job : Handle
            The job. It waits for the jobs in its attribute `_deps`, and for the joins.
        cache_set : int
            The set of cache items that it needs; -1 for none.
        tracked : bool, optional
            Whether its end is reported to `_on_job_end`.
        """
        cdef ints_t ids = ints_t(NULL, 0, 0)
        cdef ints_t joins = ints_t(NULL, 0, 0)
        cdef special_t *entry
        cdef int32_t join = -1
        cdef int32_t number
        if self.engine is not pool.engine:
            raise ValueError("the options were made for another pool")
        if job.has_inputs and pool.notify != NULL:
            cache_set = with_input_items(pool, &pool.engine.d, job, cache_set)
        try:
            if job.deps is not None:
                join = pool.sets.read(job.deps, &ids, job)
            ints_copy(&joins, self.joins, pool.engine.d.graph.n_joins)
            if join >= 0 and ints_push(&joins, join) < 0:
                raise MemoryError()
            entry = self.prepared()
            number = dispatcher_submit(
                &pool.engine.d, ids.data, ids.size, joins.data, joins.size, cache_set,
                TRACKED if tracked else 0, entry,
            )
        finally:
            ints_free(&ids)
            ints_free(&joins)
        pool.enter(job, number)
