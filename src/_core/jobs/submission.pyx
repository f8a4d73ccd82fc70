"""Queueing: how a job gets into its pool.

`bsbpool.pool.JobPool` is a subclass of `Submitter`. Any thread may queue jobs. `Submitter.submit`
does not release the GIL between adding a job to the tables and appending its handle to the list, so
the main loop finds the handle of every job that it may send.
"""
from bsbpool._core.comm.backoff cimport now_ns
from bsbpool._core.jobs.cache_sets cimport add_cache_set, find_cache_set
from bsbpool._core.jobs.call_arguments cimport dict_of, tuple_of
from bsbpool._core.jobs.dependency_sets cimport DependencySets
from bsbpool._core.jobs.handle cimport (
    Handle,
    OptionedFunction,
    add_value,
    find_inputs,
    new_instance,
    release_references,
)
from bsbpool._core.jobs.input_items cimport set_data_flags, with_dependencies, with_input_items
from bsbpool._core.jobs.times cimport times_submitted
from bsbpool._core.scheduling.dispatcher cimport dispatcher_submit
from bsbpool._core.scheduling.dispatcher_tables cimport DEPENDENCY_FAILED, TRACKED
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport SUCCESS
from bsbpool._core.vector cimport ints_free, ints_t
from cpython.dict cimport PyDict_Size
from cpython.object cimport PyCallable_Check
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport int32_t

cdef extern from "Python.h":
    void PyObject_GC_Track(object)
    void PyObject_GC_UnTrack(object)
    bint PyObject_GC_IsTracked(object)
    Py_ssize_t Py_REFCNT(object)

cdef Handle RELEASED = Handle()  # takes the place of jobs that were released


cdef class Submitter:
    """The part of a pool that takes jobs.

    A subclass has the methods `put`, `_refuse`, `_refuse_argument`, `_refuse_dependency`,
    `_with_inputs`, `_optioned`, `_check_context` and `_set_of`, see `submission.pyi`.

    Attributes
    ----------
    _engine, _job_queue
        The tables of the pool, and its jobs by number.
    _store : ResultStore or None
        Stores the results if their memory is limited.
    """

    def _open_submission(self, statuses, job_class, bint requires_put):
        """Initialize; with `requires_put`, `queue` passes each job to `put`."""
        self.requires_put = requires_put
        self.engine = Engine(statuses)
        self.sets = DependencySets(self, self.engine, self._refuse_dependency)
        self.job_list = []
        self.cache_sets = {}
        self.with_inputs = self._with_inputs
        self.job_class = job_class
        self.accepts = True

    def _close_submission(self):
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
        """Call ``notify(target)`` for each job that is added. Serial runs import no channel."""
        self.notify = notify
        self.notify_target = target

    def _disable_gc_tracking(self):
        """Hide new jobs from the cyclic garbage collector, until `_release_jobs`.

        Only for a pool that is referenced elsewhere. To visit a million jobs in every collection
        takes more time than to queue them.
        """
        self.untracked = True

    def _release_jobs(self):
        """Drop the references to all jobs, and the results and dependencies of each job."""
        cdef Handle job
        cdef list jobs = self.job_list[:]
        self.job_list.clear()  # in place, since the run refers to the same list
        self.cache_sets.clear()
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

        A job of this pool among the arguments stands for its result and is a dependency; also
        inside of lists, tuples, dicts (as a value) and dataclasses, up to 8 inside each other.

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
            If an argument has a wrong type, or an argument of the function is a future.
        JobPoolError
            If a dependency is not a job of this pool, or the pool takes no more jobs.

        Warns
        -----
        UserWarning
            If a keyword of the context looks like a misspelt parameter.
        """
        cdef int32_t cache_set = -1
        cdef tuple entry = None
        cdef Py_ssize_t n_named = PyDict_Size(context)
        cdef Handle job
        if not self.accepts:
            self._refuse()
        check_function(self, f)
        if isinstance(f, OptionedFunction):
            return self._optioned(f).queue(f, args, kwargs, deps, **context)
        if self.requires_put:
            return self.queue_by_put(f, args, kwargs, deps, context)
        items = context.pop("cache_items", None) if n_named else None
        if context:
            self._check_context(context)
        if items is not None and items:
            entry = find_cache_set(self.cache_sets, items)
            if entry is None:
                entry = add_cache_set(self.cache_sets, items, self._set_of(items))
            cache_set = entry[0]
        arguments = <tuple>args if PyTuple_CheckExact(args) else as_tuple(self, args)
        keywords = None if kwargs is None else as_keywords(self, kwargs)
        job = self.new_job(f, arguments, keywords, context or None if n_named else None)
        if entry is not None:
            job.required_items = entry[1]
        if job.has_inputs:
            deps = with_dependencies(self, job, deps, self.with_inputs)
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
            In the order of `argses`.

        Raises
        ------
        TypeError, JobPoolError
            As `queue`.

        Examples
        --------
        >>> from bsbpool import create_job_pool
        >>> with create_job_pool(quiet=True) as pool:
        ...     jobs = pool.queue_many(lambda owner, x: x * x, zip(range(4)))
        ...     list(pool.execute(return_results=True).values())
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
        if context or self.requires_put or isinstance(f, OptionedFunction):
            if context or self.queue_recorded == NULL or isinstance(f, OptionedFunction):
                return [self.queue(f, args, keywords, deps, **context) for args in argses]
            return [self.queue_by_put(f, args, keywords, deps, context) for args in argses]
        jobs = []
        for args in argses:
            job = self.new_job(f, as_tuple(self, args), keywords, None)
            if not self.accepts:
                self._refuse()
            found = with_dependencies(self, job, deps, self.with_inputs)
            self.submit(job, found, -1, False)
            jobs.append(job)
        return jobs

    def queue_for_future(
        self, future, f, tuple args not None, kwargs, deps=None, int32_t cache_set=-1, special=None
    ):
        """Queue the call of a future.

        The future becomes the context of the job; its `pool_job` is set before the job can end.
        `_on_job_end` gets the end. `deps` must name the jobs of futures that are arguments, else
        it raises UnresolvedInputs; `special` is a `SpecialSubmission` or None.
        """
        cdef Handle job = self.new_job(f, args, kwargs or None, future)
        if job.has_inputs and deps is None:
            from bsbpool._core.jobs.inputs import UnresolvedInputs
            raise UnresolvedInputs
        future.pool_job = job
        if not self.accepts:
            self._refuse()
        if special is None:
            self.submit(job, deps, cache_set, True)
        else:
            job.deps = deps
            special.submit(self, job, cache_set, True)

    def _release_job(self, Handle job not None):
        """Drop the references of and to a job of `queue_for_future` that has ended.

        Returns the result, possibly as a `StoredResult`, if the job succeeded, else its
        dependencies; and whether it succeeded.
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

    def _submit_job(self, Handle job not None, special=None, bint tracked=False):
        """Add a job that the caller made; `special` has its options, `tracked` reports its end."""
        if isinstance(job.arguments, tuple) and find_inputs(job.arguments, job.keywords):
            job.has_inputs = True
            job.deps = self._with_inputs(job, job.deps)
        cache_set = self._set_of(job.required_items)
        tracked = tracked or bool(job.completion_callbacks)
        if self.journal is not None and self.journal.put(job, cache_set, special):
            pass
        elif special is None:
            self.submit(job, job.deps, cache_set, tracked)
        else:
            special.submit(self, job, cache_set, tracked)
        set_data_flags(&self.engine.d, job)

    def _results(self):
        """Return the results of all jobs that succeeded, without copies of arrays, as a dict."""
        cdef Handle job
        results = {}
        for job in self.job_list:
            if self.engine.d.jobs[job.number].status == SUCCESS:
                if not add_value(job, results):
                    job.add_result_to(results)
        return results

    # Abstract methods, which `submission.pyi` describes
    def put(self, job):
        raise NotImplementedError

    def _refuse_argument(self, name, value):
        raise NotImplementedError

    _refuse = _refuse_dependency = _with_inputs = _optioned = _check_context = _set_of = None

    cdef object queue_by_put(self, object f, object args, object kwargs, object deps, dict context):
        """Queue a call in a pool that does not queue calls directly."""
        if not self.accepts:
            self._refuse()
        args = as_tuple(self, args)
        if self.queue_recorded != NULL and not context:
            kwargs = None if kwargs is None else as_keywords(self, kwargs)
            job = self.queue_recorded(self.journal, f, args, kwargs, deps)
            if job is not None:
                return job
        return self.put(self.job_class(self, f, args, kwargs, deps, **context))

    cdef Handle new_job(self, object f, tuple arguments, object keywords, object context):
        """Make the handle of a call without calling the constructor of its class."""
        cdef Handle job = new_instance(self.job_class)
        job.has_inputs = find_inputs(arguments, keywords) is not None
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
        cdef int32_t number, join = -1
        cdef ints_t ids = ints_t(NULL, 0, 0)
        if job.has_inputs and self.notify != NULL:  # workers run the jobs
            cache_set = with_input_items(self, &self.engine.d, job, cache_set)
        try:
            if deps is not None:
                join = self.sets.read(deps, &ids, job)
            number = dispatcher_submit(
                &self.engine.d, ids.data, ids.size, &join, join >= 0, cache_set,
                TRACKED if tracked else 0, NULL,
            )
        finally:
            ints_free(&ids)
        return self.enter(job, number)

    cdef int enter(self, Handle job, int32_t number) except -1:
        """Enter a job into the list, directly after `dispatcher_submit` has returned its number."""
        if number < 0:
            self.engine.raise_fault()
        job.number = number
        self.job_list.append(job)
        if self.times != NULL and times_submitted(self.times, number, now_ns()) < 0:
            raise MemoryError()
        if self.notify != NULL:
            self.notify(self.notify_target)


cdef int check_function(Submitter pool, object f) except -1:
    if not PyCallable_Check(f):
        pool._refuse_argument("f", f)


cdef tuple as_tuple(Submitter pool, object args):
    made = () if args is None else tuple_of(args)
    if made is None:
        pool._refuse_argument("args", args)
    return made


cdef object as_keywords(Submitter pool, object kwargs):
    made = {} if kwargs is None else dict_of(kwargs)
    if made is None:
        pool._refuse_argument("kwargs", kwargs)
    return made or None
