"""The way of a job into its pool: handle, dependencies, tables.

`bsbpool.pool.JobPool` is an `Submitter` with manners. Any thread may queue. Nothing that could
let go of the GIL stands between the core's taking a job and its place in the list of
handles, so a job that main may send is always found there.
"""
from bsbpool._core.jobs.dependency_sets cimport DependencySets
from bsbpool._core.scheduling.dispatcher cimport BROKEN, TRACKED, dispatcher_submit
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.jobs.handle cimport Handle, Kept, bare, forget, has_outcome
from bsbpool._core.scheduling.status cimport SUCCESS
from bsbpool._core.vector cimport ints_free, ints_t
from cpython.object cimport PyCallable_Check
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport int32_t

import sys

cdef extern from "Python.h":
    bint PyFloat_CheckExact(object)
    bint PyLong_CheckExact(object)
    bint PyUnicode_CheckExact(object)
    bint PyType_IsSubtype(type, type)
    void PyObject_GC_Track(object)
    void PyObject_GC_UnTrack(object)
    bint PyObject_GC_IsTracked(object)
    Py_ssize_t Py_REFCNT(object)

cdef tuple NO_ARGUMENTS = ()
cdef type FUTURE = None  # `concurrent.futures.Future`, once somebody has imported it
cdef Handle GONE = Handle()  # stands in the list for jobs that were dropped


cdef class Submitter:
    """What a pool takes jobs with.

    A subclass refuses what cannot be queued: `_refuse()` raises once no jobs are taken,
    `_refuse_argument(name, value)` for arguments of the wrong kind, and `_refuse_dependency` (see
    `dependencies`) for other dependencies than jobs of the pool.

    Attributes
    ----------
    _engine : Engine
        The pool's tables.
    _job_queue : list of Handle
        The jobs, by number.
    _store : ResultStore or None
        Keeps the results, where there is a bound on the memory that they may take.
    """

    def _open_submission(self, statuses, kind, bint puts):
        """Begin.

        Parameters
        ----------
        statuses : sequence
            What stands for each status.
        kind : type
            The class of the jobs that `queue` makes.
        puts : bool
            Whether every job must go through `put`, since a subclass made its own.
        """
        self.puts = puts
        self._engine = Engine(statuses)
        self._sets = DependencySets(self, self._engine)
        self._job_queue = []
        self.kind = kind
        self.accepts = True

    def _close_submission(self):
        """Take no more jobs: `_refuse` is asked to say so."""
        self.accepts = False

    @property
    def _accepts(self):
        return self.accepts

    cdef void notify_of_jobs(self, notify_t notify, object target) noexcept:
        """Call ``notify(target)`` for each new job. A serial run needs no channel this way."""
        self.notify = notify
        self.notify_target = target

    def _untrack_jobs(self):
        """Keep new jobs from the cyclic garbage collector until `_drop_jobs`.

        For a pool that something else keeps alive: its jobs are no garbage then, and a
        collector that looks at a million of them again and again takes most of the time.
        """
        self.untracked = True

    def _drop_jobs(self):
        """Let go of the jobs and their results. Whoever has a handle keeps that."""
        cdef Handle job
        cdef list jobs = self._job_queue[:]
        self._job_queue.clear()  # in place: a run holds the same list
        self._sets = DependencySets(self, self._engine)  # it keeps members of shared sets
        self.untracked = False
        for job in jobs:
            deps = job.deps if is_broken(self._engine, job) else None
            forget(job)
            job.deps = deps  # its error names the one of them that failed
            if Py_REFCNT(job) > 2 and not PyObject_GC_IsTracked(job):
                PyObject_GC_Track(job)

    def queue(self, f, args=None, kwargs=None, deps=None, **context):
        """Queue a call of ``f(owner, *args, **kwargs)``.

        Parameters
        ----------
        f : callable
            What to call. Lambdas and functions inside functions are fine.
        args : iterable, optional
            Positional arguments after the owner.
        kwargs : mapping, optional
            Keyword arguments.
        deps : iterable of Job, optional
            Jobs of this pool that must succeed first.
        **context
            What to remember of the job (`submitter=`, or anything); also
            `cache_items=`, the cached functions, nodes or ids that the job needs.

        Returns
        -------
        FunctionJob
            The handle of the job.

        Raises
        ------
        TypeError
            When an argument is not of its kind; when an argument of the function is a job or a
            future.
        JobPoolError
            When a dependency is not a job of this pool, or the pool is closed.

        Warns
        -----
        UserWarning
            When a keyword of the context looks like a misspelt parameter.
        """
        cdef int32_t cache_set = -1
        cdef Handle job
        if not self.accepts:
            self._refuse()
        check_function(self, f)
        if self.puts:
            return self.put(self.kind(self, f, as_arguments(self, args), kwargs, deps, **context))
        if context:
            self._check_context(context)
        needs = context.pop("cache_items", None) if context else None
        if needs:
            cache_set = self._set_of(needs)
        job = self.new_job(f, as_arguments(self, args), as_keywords(self, kwargs), context or None)
        if needs:
            job._cache_items = list(needs)
        self.enter(job, deps, cache_set, False)
        return job

    def queue_many(self, f, argses, kwargs=None, deps=None, **context):
        """Queue a call of ``f(owner, *args, **kwargs)`` for each `args` in `argses`.

        Parameters
        ----------
        f : callable
            What to call.
        argses : iterable of iterables
            The positional arguments of each job after the owner: of one argument each,
            ``zip(items)``; of several, ``zip(these, those)``.
        kwargs : mapping, optional
            Keyword arguments, the same for all.
        deps : iterable of Job, optional
            Jobs of this pool that must succeed before any of the new ones runs.
        **context
            As of `queue`, for all the jobs.

        Returns
        -------
        list of FunctionJob
            The handles of the jobs, in the order of `argses`.

        Raises
        ------
        TypeError
            When an argument is not of its kind.
        JobPoolError
            When a dependency is not a job of this pool, or the pool is closed.

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
            deps = self._sets.listed(deps)
        if context or self.puts:
            return [self.queue(f, args, keywords, deps, **context) for args in argses]
        jobs = []
        for args in argses:
            job = self.new_job(f, as_arguments(self, args), keywords, None)
            if not self.accepts:
                self._refuse()
            self.enter(job, deps, -1, False)
            jobs.append(job)
        return jobs

    def _queue_for(
        self, waiter, f, tuple args not None, kwargs, deps=None, int32_t cache_set=-1
    ):
        """Queue a call for which somebody waits.

        The waiter is the job's context, gets the job as its `_job` before that can end, and the
        job's end is told as that of a job with callbacks.
        """
        cdef Handle job = self.new_job(f, args, kwargs or None, waiter)
        waiter._job = job
        if not self.accepts:
            self._refuse()
        self.enter(job, deps, cache_set, True)

    def _drop_job(self, Handle job not None):
        """Let go of all that a job of `_queue_for` was made of, for it has ended.

        Returns
        -------
        outcome : object
            What it returned, perhaps a `Kept`; for one that did not succeed the jobs that it
            depended on.
        succeeded : bool
            Whether it did.
        """
        cdef bint succeeded = self._engine.d.jobs[job.number].status == SUCCESS
        outcome = job._outcome if succeeded else job.deps
        self._job_queue[job.number] = GONE
        forget(job)
        job.context = None
        if succeeded:
            job.f = job.arguments = job.keywords = None  # others are named in dependents' errors
        return outcome, succeeded

    def _enter(self, Handle job not None, deps, int32_t cache_set, bint tracked):
        """Take a job that somebody made; its changes are recorded if `tracked`."""
        self.enter(job, deps, cache_set, tracked)

    def _results(self):
        """Return what the jobs returned that succeeded, by job, in the order of queueing.

        Arrays are handed over in the memory that they came in. A job whose result cannot be
        read becomes FAILED and is left out.
        """
        cdef Handle job
        cdef dict results = {}
        for job in self._job_queue:
            if self._engine.d.jobs[job.number].status == SUCCESS:
                if has_outcome(job) and not isinstance(job._outcome, Kept):
                    results[job] = job._outcome
                else:
                    job._hand_over(results)
        return results

    cdef Handle new_job(self, object f, tuple arguments, object keywords, object context):
        cdef Handle job
        check_values(arguments, keywords)
        job = bare(self.kind)
        job._pool = self
        job.calls = True
        job.f = f
        job.arguments = arguments
        job.keywords = keywords
        job.context = context
        if self.untracked:
            PyObject_GC_UnTrack(job)
        return job

    cdef int enter(self, Handle job, object deps, int32_t cache_set, bint tracked) except -1:
        cdef int32_t join = -1
        cdef int32_t number
        cdef ints_t ids = ints_t(NULL, 0, 0)
        try:
            if deps is not None:
                join = self._sets.read(deps, &ids, job)
            self._engine.lock()
            number = dispatcher_submit(
                &self._engine.d, ids.data, ids.size, join, cache_set, TRACKED if tracked else 0
            )
            self._engine.unlock()
            if number >= 0:
                job.number = number
                self._job_queue.append(job)
        finally:
            ints_free(&ids)
        if number < 0:
            self._engine.raise_fault()
        if self.notify != NULL:
            self.notify(self.notify_target)
        return 0


cdef bint is_broken(Engine engine, Handle job) noexcept:
    """Whether a dependency's failure cancelled a job."""
    return job.number >= 0 and engine.d.jobs[job.number].flags & BROKEN


cdef int check_function(object pool, object f) except -1:
    if not PyCallable_Check(f):
        pool._refuse_argument("f", f)
    return 0


def check_arguments(tuple args not None, kwargs=None):
    """Refuse jobs and futures as arguments of a call: they cannot transfer, only their results can.

    Looks at the arguments themselves; what is inside of them fails when it is pickled.

    Parameters
    ----------
    args : tuple
        The positional arguments.
    kwargs : dict, optional
        The keyword arguments.

    Raises
    ------
    TypeError
        Which argument it is, and what to do.
    """
    check_values(args, kwargs)


cdef inline int check_values(tuple arguments, object keywords) except -1:
    cdef Py_ssize_t i
    for i in range(len(arguments)):
        if not is_scalar(arguments[i]):
            check_value(arguments[i], "args", i)
    if keywords is not None:
        for name, value in keywords.items():
            check_value(value, "kwargs", name)
    return 0


cdef inline bint is_scalar(object value) noexcept:
    return (
        PyLong_CheckExact(value)
        or PyFloat_CheckExact(value)
        or PyUnicode_CheckExact(value)
        or value is None
    )


cdef int check_value(object value, str where, object key) except -1:
    """Refuse a job or a future."""
    if not stands_for_result(value):
        return 0
    is_job = isinstance(value, Handle)
    one = "job" if is_job else "future"
    result = "job.result" if is_job else "future.result()"
    raise TypeError(
        f"{where}[{key!r}] is a {one}. A {one} cannot be an argument: wait until it has ended and "
        f"pass {result}, or use deps=[{one}] to run the call after it."
    )


cdef bint stands_for_result(object item) except -1:
    global FUTURE
    if isinstance(item, Handle):
        return True
    if FUTURE is None:
        module = sys.modules.get("concurrent.futures._base")
        if module is None:  # so there is no future
            return False
        FUTURE = module.Future
    return PyType_IsSubtype(type(item), FUTURE)


cdef tuple as_arguments(object pool, object args):
    if PyTuple_CheckExact(args):
        return <tuple>args
    if args is None:
        return NO_ARGUMENTS
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        pool._refuse_argument("args", args)
    return tuple(args)


cdef object as_keywords(object pool, object kwargs):
    if kwargs is None:
        return None
    if not hasattr(kwargs, "keys") or not hasattr(kwargs, "__getitem__"):
        pool._refuse_argument("kwargs", kwargs)
    return dict(kwargs) or None
