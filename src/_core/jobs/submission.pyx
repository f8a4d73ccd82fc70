"""Queueing: how a job gets into its pool.

`bsbpool.pool.JobPool` is a subclass of `Submitter`. Any thread may queue jobs. `Submitter.submit`
does not release the GIL between adding a job to the tables and appending its handle to the list, so
the main loop finds the handle of every job that it may send.
"""
from bsbpool._core.jobs.dependency_sets cimport DependencySets
from bsbpool._core.jobs.handle cimport (
    Handle,
    StoredResult,
    check_values,
    has_outcome,
    new_instance,
    release_references,
)
from bsbpool._core.scheduling.dispatcher cimport DEPENDENCY_FAILED, TRACKED, dispatcher_submit
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport SUCCESS
from bsbpool._core.vector cimport ints_free, ints_t
from cpython.object cimport PyCallable_Check
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport int32_t

cdef extern from "Python.h":
    void PyObject_GC_Track(object)
    void PyObject_GC_UnTrack(object)
    bint PyObject_GC_IsTracked(object)
    Py_ssize_t Py_REFCNT(object)

cdef tuple NO_ARGUMENTS = ()
cdef Handle RELEASED = Handle()  # takes the place of jobs that were released


cdef class Submitter:
    """The part of a pool that takes jobs.

    A subclass overrides the abstract methods `put`, `_refuse`, `_refuse_argument`,
    `_refuse_dependency`, `_check_context` and `_set_of`.

    Attributes
    ----------
    _engine : Engine
        The tables of the pool.
    _job_queue : list of Handle
        The jobs, by number.
    _store : ResultStore or None
        Stores the results if their memory is limited.
    """

    def _open_submission(self, statuses, job_class, bint requires_put):
        """Initialize.

        Parameters
        ----------
        statuses : sequence
            The objects that stand for the statuses, see `Engine`.
        job_class : type
            The class of the jobs that `queue` makes.
        requires_put : bool
            Whether `queue` must pass each job to `put`, because a subclass overrides that.
        """
        self.requires_put = requires_put
        self.engine = Engine(statuses)
        self.sets = DependencySets(self, self.engine, self._refuse_dependency)
        self.job_list = []
        self.job_class = job_class
        self.accepts = True

    def _close_submission(self):
        """Take no more jobs."""
        self.accepts = False

    @property
    def _accepts(self):
        return self.accepts

    @property
    def _engine(self):
        return self.engine

    @property
    def _job_queue(self):
        return self.job_list

    @property
    def _sets(self):
        return self.sets

    @property
    def _store(self):
        return self.store

    @_store.setter
    def _store(self, value):
        self.store = value

    @property
    def _on_job_end(self):
        return self.on_job_end

    @_on_job_end.setter
    def _on_job_end(self, value):
        self.on_job_end = value

    cdef void notify_of_jobs(self, notify_t notify, object target) noexcept:
        """Call ``notify(target)`` for each job that is added from now on.

        A function pointer, so that serial runs need not import the channel.
        """
        self.notify = notify
        self.notify_target = target

    def _disable_gc_tracking(self):
        """Hide new jobs from the cyclic garbage collector, until `_release_jobs`.

        Only for a pool that is referenced elsewhere, so that its jobs are no garbage. To visit a
        million jobs in every collection takes more time than to queue them.
        """
        self.untracked = True

    def _release_jobs(self):
        """Drop the references to all jobs, and the results and dependencies of each job."""
        cdef Handle job
        cdef list jobs = self.job_list[:]
        self.job_list.clear()  # in place, since the run refers to the same list
        # The old one references jobs.
        self.sets = DependencySets(self, self.engine, self._refuse_dependency)
        self.untracked = False
        for job in jobs:
            deps = None
            if job.number >= 0 and self.engine.d.jobs[job.number].flags & DEPENDENCY_FAILED:
                deps = job.deps  # the error of the job names the dependency that failed
            release_references(job)
            job.deps = deps
            if Py_REFCNT(job) > 2 and not PyObject_GC_IsTracked(job):
                PyObject_GC_Track(job)

    def queue(self, f, args=None, kwargs=None, deps=None, **context):
        """Queue a call of ``f(owner, *args, **kwargs)``.

        Parameters
        ----------
        f : callable
            The function. Lambdas and nested functions are allowed.
        args : iterable, optional
            Positional arguments after the owner.
        kwargs : mapping, optional
            Keyword arguments.
        deps : iterable of Job, optional
            Jobs of this pool that must succeed first.
        **context
            The context of the submission: `submitter=` and any other keyword. In addition
            `cache_items=`, the cached functions, nodes or ids that the job needs.

        Returns
        -------
        FunctionJob
            The handle of the job.

        Raises
        ------
        TypeError
            If an argument has a wrong type, or an argument of the function is a job or a future.
        JobPoolError
            If a dependency is not a job of this pool, or the pool takes no more jobs.

        Warns
        -----
        UserWarning
            If a keyword of the context looks like a misspelt parameter.
        """
        cdef int32_t cache_set = -1
        cdef Handle job
        if not self.accepts:
            self._refuse()
        check_function(self, f)
        if self.requires_put:
            args = as_tuple(self, args)
            return self.put(self.job_class(self, f, args, kwargs, deps, **context))
        if context:
            self._check_context(context)
        needs = context.pop("cache_items", None) if context else None
        if needs:
            cache_set = self._set_of(needs)
        job = self.new_job(f, as_tuple(self, args), as_keywords(self, kwargs), context or None)
        if needs:
            job.required_items = list(needs)
        self.submit(job, deps, cache_set, False)
        return job

    def queue_many(self, f, argses, kwargs=None, deps=None, **context):
        """Queue a call of ``f(owner, *args, **kwargs)`` for each element `args` of `argses`.

        Parameters
        ----------
        f : callable
            The function.
        argses : iterable of iterables
            The positional arguments of each job after the owner. Use ``zip(items)`` for one
            argument each, ``zip(first_items, second_items)`` for two.
        kwargs : mapping, optional
            Keyword arguments, the same for all jobs.
        deps : iterable of Job, optional
            Jobs of this pool that must succeed before any of the new ones runs.
        **context
            As in `queue`, for all jobs.

        Returns
        -------
        list of FunctionJob
            The handles of the jobs, in the order of `argses`.

        Raises
        ------
        TypeError
            If an argument has a wrong type.
        JobPoolError
            If a dependency is not a job of this pool, or the pool takes no more jobs.

        Examples
        --------
        >>> from bsbpool import create_job_pool
        >>> with create_job_pool(quiet=True) as pool:
        ...     jobs = pool.queue_many(lambda owner, x: x * x, zip(range(4)))
        ...     results = pool.execute(return_results=True)
        >>> [results[job] for job in jobs]
        [0, 1, 4, 9]
        """
        cdef Handle job
        if not self.accepts:
            self._refuse()
        check_function(self, f)
        if isinstance(argses, (str, bytes)) or not hasattr(argses, "__iter__"):
            self._refuse_argument("argses", argses)
        keywords = as_keywords(self, kwargs)
        if deps is not None:
            deps = self.sets.as_tuple(deps)  # an iterator can be read only once
        if context or self.requires_put:
            return [self.queue(f, args, keywords, deps, **context) for args in argses]
        jobs = []
        for args in argses:
            job = self.new_job(f, as_tuple(self, args), keywords, None)
            if not self.accepts:
                self._refuse()
            self.submit(job, deps, -1, False)
            jobs.append(job)
        return jobs

    def queue_for_future(
        self, future, f, tuple args not None, kwargs, deps=None, int32_t cache_set=-1
    ):
        """Queue the call of a future.

        The future becomes the context of the job. Its attribute `pool_job` is set to the job before
        the job can end. The job is tracked, so its end is reported to `_on_job_end`.
        """
        cdef Handle job = self.new_job(f, args, kwargs or None, future)
        future.pool_job = job
        if not self.accepts:
            self._refuse()
        self.submit(job, deps, cache_set, True)

    def _release_job(self, Handle job not None):
        """Drop the references of and to a job of `queue_for_future` that has ended.

        Returns
        -------
        outcome : object
            The result, possibly as a `StoredResult`, if the job succeeded; else its dependencies.
        succeeded : bool
            Whether the job succeeded.
        """
        cdef bint succeeded = self.engine.d.jobs[job.number].status == SUCCESS
        outcome = job.outcome if succeeded else job.deps
        self.job_list[job.number] = RELEASED
        release_references(job)
        job.context = None
        if succeeded:
            # Only then: the errors of dependents quote the call of a job that did not succeed.
            job.f = job.arguments = job.keywords = None
        return outcome, succeeded

    def _submit_job(self, Handle job not None):
        """Add a job that the caller made."""
        if isinstance(job.arguments, tuple):
            check_values(job.arguments, job.keywords)
        cache_set = self._set_of(job.required_items)
        self.submit(job, job.deps, cache_set, bool(job.completion_callbacks))

    def _results(self):
        """Return a dict of the results of all jobs that succeeded, in the order of queueing.

        Arrays are not copied: they use the memory into which they were received. A job whose result
        cannot be unpickled becomes FAILED and is left out.
        """
        cdef Handle job
        cdef dict results = {}
        for job in self.job_list:
            if self.engine.d.jobs[job.number].status == SUCCESS:
                if has_outcome(job) and not isinstance(job.outcome, StoredResult):
                    results[job] = job.outcome
                else:
                    job.add_result_to(results)
        return results

    # Abstract methods

    def put(self, job):
        """Queue a job that the caller made, and return it."""
        raise NotImplementedError

    def _refuse(self):
        """Raise: the pool takes no more jobs."""
        raise NotImplementedError

    def _refuse_argument(self, name, value):
        """Raise TypeError: the argument `name` has the wrong value `value`."""
        raise NotImplementedError

    def _refuse_dependency(self, deps, item, inside):
        """Raise: `deps` or, if `inside`, its member `item` is not what `queue` accepts."""
        raise NotImplementedError

    def _check_context(self, context):
        """Warn of keywords of `queue` that look like a misspelt parameter."""
        raise NotImplementedError

    def _set_of(self, cache_items):
        """Return the number of a set of cache items; -1 for no items."""
        raise NotImplementedError

    cdef Handle new_job(self, object f, tuple arguments, object keywords, object context):
        """Make the handle of a call without calling the constructor of its class."""
        cdef Handle job
        check_values(arguments, keywords)
        job = new_instance(self.job_class)
        job.pool = self
        job.calls_function = True
        job.f = f
        job.arguments = arguments
        job.keywords = keywords
        job.context = context
        if self.untracked:
            PyObject_GC_UnTrack(job)
        return job

    cdef int submit(self, Handle job, object deps, int32_t cache_set, bint tracked) except -1:
        """Add a job to the tables and to the list of jobs."""
        cdef int32_t join = -1
        cdef int32_t number
        cdef ints_t ids = ints_t(NULL, 0, 0)
        try:
            if deps is not None:
                join = self.sets.read(deps, &ids, job)
            number = dispatcher_submit(
                &self.engine.d, ids.data, ids.size, join, cache_set, TRACKED if tracked else 0
            )
            if number >= 0:
                job.number = number
                self.job_list.append(job)
        finally:
            ints_free(&ids)
        if number < 0:
            self.engine.raise_fault()
        if self.notify != NULL:
            self.notify(self.notify_target)
        return 0


cdef int check_function(Submitter pool, object f) except -1:
    if not PyCallable_Check(f):
        pool._refuse_argument("f", f)
    return 0


cdef tuple as_tuple(Submitter pool, object args):
    """Return the positional arguments `args`, an iterable or None, as a tuple."""
    if PyTuple_CheckExact(args):
        return <tuple>args
    if args is None:
        return NO_ARGUMENTS
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        pool._refuse_argument("args", args)
    return tuple(args)


cdef object as_keywords(Submitter pool, object kwargs):
    """Return the keyword arguments `kwargs`, a mapping or None, as a dict; None if empty."""
    if kwargs is None:
        return None
    if not hasattr(kwargs, "keys") or not hasattr(kwargs, "__getitem__"):
        pool._refuse_argument("kwargs", kwargs)
    return dict(kwargs) or None
