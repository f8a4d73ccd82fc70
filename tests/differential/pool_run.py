"""Runs a program with a job pool of the library and compares it with the oracle."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bsbpool import (
    Job,
    JobCancelledError,
    JobErroredError,
    JobPoolError,
    JobSchedulingError,
    JobStatus,
    SubmissionContext,
    WorkflowError,
    create_job_pool,
)
from bsbpool.progress import PoolProgressReason
from differential import functions, items
from differential.describe import describe
from differential.outcome import HANDLED, UNREADABLE, Seen, is_from_the_keyboard, kind_of, notes_of
from differential.pool_plan import (
    Cancel,
    Change,
    Execute,
    Finish,
    Hold,
    OnEnd,
    PoolPlan,
    Queue,
    Schedule,
    Step,
)
from differential.recipes import Builder

ENDED = (JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ABORTED)


class CallJob(Job):
    """A user-defined subclass of Job."""

    @staticmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        f, *rest = args
        return f(job_owner, *rest, **kwargs)


@dataclass
class RankRecords:
    """The records of one rank about a program."""

    end: str = ""
    ran: list[tuple[int, int]] = field(default_factory=list)
    evaluated: list[str] = field(default_factory=list)


class PoolRun:
    """A program, on one rank."""

    def __init__(self, plan: PoolPlan) -> None:
        self.plan = plan
        self.here = RankRecords()
        self.jobs: dict[int, list[Any]] = {}
        self.seen: dict[int, list[Seen]] = {}
        self.mistakes: list[str] = []
        self.refused = self.registered = self.called = 0
        self.error: BaseException | None = None
        self.results: Any = None
        self._executing = False
        self._records: list[Any] = []
        self._builder = Builder(plan.cells)

    def run(self) -> None:
        """Run the program; collective."""
        plan = self.plan
        functions.ran.clear()
        items.evaluated.clear()
        self.pool = create_job_pool(
            Builder(()).build(plan.owner),
            fail_fast=plan.fail_fast,
            quiet=True,
            max_memory=None if plan.max_memory < 0 else plan.max_memory,
        )
        if plan.listener:
            self.pool.add_listener(self._listen, 30.0 if plan.listener == "paced" else None)
        with warnings.catch_warnings(), self.pool:
            warnings.simplefilter("ignore")
            if self.pool.is_main():
                for step in plan.steps:
                    self._try(step)
            self._executing = True
            try:
                self.results = self.pool.execute(return_results=plan.return_results)
            except BaseException as error:
                if is_from_the_keyboard(error):
                    raise
                self.error = error
                self.here.end = type(error).__name__
            if self.pool.is_main():
                self._look()
        self.here.ran = list(functions.ran)
        self.here.evaluated = list(items.evaluated)

    # ------------------------------------------------------------ steps

    def _try(self, step: Step) -> None:
        """Perform a step of the program, which must not raise."""
        try:
            self._make(step)
        except BaseException as error:
            if is_from_the_keyboard(error):
                raise
            self.mistakes.append(f"{step} raises {kind_of(error)}")

    def _make(self, step: Step) -> None:
        if isinstance(step, Queue):
            known = self.jobs.setdefault(step.key, [])
            known += self._queue(step, len(known))
        elif isinstance(step, Change):
            self._builder.change(step.cell, step.n)
        elif isinstance(step, Execute):
            if not self._executing:
                return
            try:
                self.pool.execute()
            except (JobPoolError, RuntimeError):
                self.refused += 1
        elif isinstance(step, Schedule):
            self._schedule(step)
        else:
            for job in tuple(self.jobs.get(step.key, ())):
                try:
                    self._make_on(job, step)
                except JobPoolError:
                    self.refused += 1

    def _make_on(self, job: Any, step: Cancel | Finish | Hold | OnEnd) -> None:
        if isinstance(step, Cancel):
            job.cancel(step.reason or None)
        elif isinstance(step, Hold):
            job.change_status(JobStatus.RUNNING)
        elif isinstance(step, Finish):
            value = self._builder.build(step.value)
            if step.fails:
                job.set_exception(value)
            else:
                job.set_result(value)
        else:
            self.registered += 1

            def callback(job: Any) -> None:
                self.called += 1
                if job.status not in ENDED:
                    self.mistakes.append(f"a callback of a job that is {job.status}")
                for inner in step.steps:
                    self._make(inner)

            job.on_completion(callback)

    def _queue(self, step: Queue, place: int) -> list[Any]:
        build, pool = self._builder.build, self.pool
        deps = [job for key in step.deps for job in self.jobs.get(key, ())]
        if step.item >= 0:
            f, args, needs = items.job_of(step.item)
            return [pool.queue(f, args, deps=deps, cache_items=needs)]
        f = build(step.f)
        kwargs = {name: build(value) for name, value in step.kwargs}
        argses = [tuple(map(build, arg.parts)) for arg in step.args] if step.how == "many" else []
        args = () if step.how == "many" else tuple(map(build, step.args))
        if step.logged:
            argses = [((step.key, n), f, *args) for n, args in enumerate(argses, place)]
            args = ((step.key, place), f, *args)
            f = functions.logged
        if step.how == "many":
            return list(pool.queue_many(f, argses, kwargs, deps))
        if step.how == "submit":
            return [pool.submit(f, *args, deps=deps, **kwargs)]
        if step.how == "put":
            context = SubmissionContext("a submitter")
            return [pool.put(CallJob(pool, context, (f, *args), kwargs, deps))]
        return [pool.queue(f, args, kwargs, deps)]

    def _schedule(self, step: Schedule) -> None:
        def queue(node: Any) -> None:
            if node is None:
                raise ValueError("this node queues nothing")
            self._make(node)

        self.pool.schedule([*step.steps, *([None] if step.fails else [])], queue)

    def _listen(self, progress: Any) -> bool:
        if progress.reason is PoolProgressReason.JOB_STATUS_CHANGE:
            self._records.append((progress.job, progress.old_status, progress.status))
            if self.plan.listener == "handle" and progress.status is JobStatus.FAILED:
                return isinstance(progress.job.error, HANDLED)
        return False

    # ------------------------------------------------------------ checking

    def _look(self) -> None:
        """Record the outcomes of the jobs while the pool is open."""
        for key, jobs in self.jobs.items():
            self.seen[key] = [self._see(job) for job in jobs]
        if self.plan.listener:
            self._check_records()
        if self.results is not None:
            good = {job for job in self.pool.jobs if job.status is JobStatus.SUCCESS}
            if set(self.results) != good:
                self.mistakes.append(f"{len(self.results)} results of {len(good)} jobs")
        self._check_end()

    def _see(self, job: Any) -> Seen:
        if job.status is JobStatus.SUCCESS:
            try:
                value = describe(job.result)
                if self.results is not None and (given := describe(self.results[job])) != value:
                    self.mistakes.append(f"results[job] is {given}, job.result {value}")
                return Seen("SUCCESS", value)
            except BaseException as error:
                if is_from_the_keyboard(error):
                    raise
                if job.status is JobStatus.SUCCESS:
                    return Seen(UNREADABLE, describe(error))
        error = job.error
        cause = kind_of(error.__cause__) if error is not None else ""
        if job.status is JobStatus.CANCELLED:
            if not isinstance(error, JobCancelledError):
                self.mistakes.append(f"the error of a cancelled job is {error!r}")
                return Seen("CANCELLED")
            return Seen("CANCELLED", ("cancelled", error.args), cause=cause)
        if job.status is JobStatus.FAILED and error is not None:
            return Seen("FAILED", describe(error), notes_of(error), cause)
        return Seen(job.status.name)

    def _check_records(self) -> None:
        last: dict[Any, JobStatus] = {}
        for job, old, new in self._records:
            if last.setdefault(job, JobStatus.PENDING) is not old:
                self.mistakes.append(f"a listener got {old} after {last[job]}")
            last[job] = new
        for job in self.pool.jobs:
            if last.get(job, JobStatus.PENDING) is not job.status:
                self.mistakes.append(f"a listener got {last.get(job)} of a job {job.status}")

    def _check_end(self) -> None:
        """Check the error of `execute` against the outcomes of the jobs."""
        handles = self.plan.listener == "handle"
        unhandled = [
            job.error
            for job in self.pool.jobs
            if job.status is JobStatus.FAILED and not (handles and isinstance(job.error, HANDLED))
        ]
        reported: list[Any] = []
        if isinstance(self.error, WorkflowError):
            kinds = Counter(map(type, self.error.exceptions))
            if extra := set(kinds) - {JobErroredError, JobSchedulingError}:
                self.mistakes.append(f"execute raises {extra}")
            reported = [e.error for e in self.error.exceptions if isinstance(e, JobErroredError)]
        elif self.error is not None and not isinstance(self.error, JobPoolError):
            self.mistakes.append(f"execute raises {self.error!r}")
            return
        elif self.error is not None:
            return  # possibly a deadlock that the oracle expects
        if self.plan.fail_fast and reported:
            unhandled = [error for error in unhandled if any(error is other for other in reported)]
        if Counter(map(id, reported)) != Counter(map(id, unhandled)):
            self.mistakes.append(f"execute reports {reported!r}, the jobs have {unhandled!r}")
