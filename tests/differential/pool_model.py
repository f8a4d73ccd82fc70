"""The oracle of programs with a job pool: their outcomes, in plain Python."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from differential.functions import in_oracle
from differential.items import job_of
from differential.outcome import (
    ABORTED,
    CANCELLED,
    FAILED,
    SUCCESS,
    Expected,
    call_here,
    call_remotely,
    kept,
)
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
from differential.recipes import Builder, V

PENDING, RUNNING = "PENDING", "RUNNING"
ENDS = frozenset([SUCCESS, FAILED, CANCELLED, ABORTED])


@dataclass(eq=False)
class ModelJob:
    """A job of the oracle; `loose` if its outcome depends on timing."""

    step: Queue
    place: int
    args: tuple[V, ...]
    deps: list[ModelJob]
    common: list[Any]  # the function and keyword arguments that all jobs of its step share
    status: str = PENDING
    outcome: Expected = field(default_factory=Expected)
    callbacks: list[tuple[Step, ...]] = field(default_factory=list)
    dependents: list[ModelJob] = field(default_factory=list)
    loose: bool = False
    killed: bool = False  # by a dependency
    outdone: bool = False  # the user may end it before its function returns

    @property
    def ready(self) -> bool:
        return self.status == PENDING and all(dep.status == SUCCESS for dep in self.deps)


class PoolModel:
    """Runs a program without the library.

    Parameters
    ----------
    plan : PoolPlan
        The program.
    remote : bool
        Whether jobs run on other ranks, so that each gets copies of its arguments.

    Attributes
    ----------
    jobs : dict of int to list of ModelJob
        The jobs of each step.
    order : list of (int, int)
        The logged jobs that run, in the order in which one process runs them.
    refused : int
        The number of steps that raise a JobPoolError.
    deadlock : bool
        Whether jobs are left that can never end.
    loose : bool
        Whether the outcome of some jobs depends on timing.
    """

    def __init__(self, plan: PoolPlan, remote: bool) -> None:
        self.plan, self.remote = plan, remote
        self.jobs: dict[int, list[ModelJob]] = {}
        self.order: list[tuple[int, int]] = []
        self.refused = 0
        self.deadlock = self.loose = False
        self._queued: list[ModelJob] = []
        self._changes: list[tuple[int, int]] = []
        self._main = Builder(plan.cells)
        self._executing = self._calling = self._over = self._disordered = False
        self._due: deque[tuple[Step, ...]] = deque()
        self._targets = _targets_of_callbacks(plan.steps)
        self._unscheduled = 0
        token = in_oracle.set(True)
        try:
            for step in plan.steps:
                self._make(step)
            self._execute()
            self._conclude()
        finally:
            in_oracle.reset(token)

    # ------------------------------------------------------------ steps

    def _make(self, step: Step) -> None:
        if isinstance(step, Queue):
            self._queue(step)
        elif isinstance(step, Change):
            self._changes.append((step.cell, step.n))
            self._main.change(step.cell, step.n)
        elif isinstance(step, Execute):
            self.refused += self._executing
        elif isinstance(step, Schedule):
            self._unscheduled += step.fails
            for queue in step.steps:
                self._queue(queue)
        else:
            for job in tuple(self.jobs.get(step.key, ())):
                self._make_on(job, step)
                self._call_back()

    def _make_on(self, job: ModelJob, step: Cancel | Finish | Hold | OnEnd) -> None:
        if isinstance(step, OnEnd):
            if job.status in ENDS:
                self._due.append(step.steps)
            else:
                job.callbacks.append(step.steps)
            return
        held = job.status == RUNNING
        if self._executing and self.remote and not (held and self._targets[step.key] == 1):
            self.loose = job.loose = True  # a worker may run it, or another callback may end it
            job.outdone = job.outdone or isinstance(step, Finish)
        if isinstance(step, Cancel):
            if job.status not in ENDS:
                args = (step.reason,) if step.reason else ()
                self._end(job, CANCELLED, Expected(CANCELLED, ("cancelled", args)))
        elif isinstance(step, Hold):
            if job.ready:
                job.status = RUNNING
            else:
                self.refused += 1
        elif held or job.ready:
            outcome = kept(self._main.build(step.value), step.fails, self.plan.max_memory >= 0)
            self._end(job, outcome.status, outcome)
        else:
            self.refused += 1

    def _queue(self, step: Queue) -> None:
        deps = [job for key in step.deps for job in self.jobs.get(key, ())]
        argses: Iterable[tuple[V, ...]] = [step.args]
        if step.how == "many" and step.item < 0:
            argses = [arg.parts for arg in step.args]
        made = self.jobs.setdefault(step.key, [])
        common: list[Any] = []
        for args in argses:
            job = ModelJob(step, len(made), args, deps, common)
            made.append(job)
            self._queued.append(job)
            for dep in deps:
                dep.dependents.append(job)
            if self._over:
                self._end(job, CANCELLED, Expected(CANCELLED))
            elif any(dep.status in ENDS - {SUCCESS} for dep in deps):
                self._kill(job)

    def _end(self, job: ModelJob, status: str, outcome: Expected) -> None:
        """End a job and cancel its dependents."""
        job.status, job.outcome = status, outcome
        self._due.extend(filter(None, job.callbacks))
        job.callbacks = []
        broken = deque([] if status == SUCCESS else job.dependents)
        while broken:
            other = broken.popleft()
            if other.status == PENDING:
                self._kill(other)
                broken.extend(other.dependents)

    def _kill(self, job: ModelJob) -> None:
        job.status, job.killed = CANCELLED, True
        job.outcome = Expected(CANCELLED)
        self._due.extend(filter(None, job.callbacks))
        job.callbacks = []

    def _call_back(self) -> None:
        if self._calling:
            return
        self._calling = True
        while self._due:
            steps = self._due.popleft()
            others = len(self._due)
            for left, step in zip(range(len(steps) - 1, -1, -1), steps, strict=True):
                known = len(self._due)
                self._make(step)
                # The order of callbacks of a job that another callback ends is not specified.
                if len(self._due) > known and (left or others):
                    self._disordered = True
        self._calling = False

    # ------------------------------------------------------------ running

    def _execute(self) -> None:
        self._executing = True
        stopped = self._fails_fast()
        while not stopped and (ready := next((job for job in self._queued if job.ready), None)):
            self._run(ready)
            self._call_back()
            stopped = self._fails_fast()
        left = [job for job in self._queued if job.status not in ENDS]
        self.deadlock = bool(left) and not stopped
        self._over = True
        for job in left:
            status = ABORTED if job.status == RUNNING else CANCELLED
            self._end(job, status, Expected(status))
            job.killed = False
        self._call_back()

    def _run(self, job: ModelJob) -> None:
        f, args, kwargs = self._call(job)
        owner = Builder(()).build(self.plan.owner)
        if self.remote:
            outcome = call_remotely(f, (owner, *args), kwargs)
        else:
            outcome = call_here(f, (owner, *args), kwargs, self.plan.max_memory >= 0)
        if job.step.logged and job.step.item < 0 and outcome.called:
            self.order.append((job.step.key, job.place))
        self._end(job, outcome.status, outcome)

    def _call(self, job: ModelJob) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """Return the function and the arguments of a job; on other ranks they are copies."""
        builder = Builder(self.plan.cells, self._changes) if self.remote else self._main
        if job.step.item >= 0:
            f, args, _ = job_of(job.step.item)
            return f, args, {}
        if self.remote or not job.common:
            f = builder.build(job.step.f)
            job.common[:] = f, {name: builder.build(value) for name, value in job.step.kwargs}
        f, kwargs = job.common
        return f, tuple(map(builder.build, job.args)), kwargs

    def _fails_fast(self) -> bool:
        """Whether a failure ends the run; on several ranks the run ends some time later."""
        if not self.plan.fail_fast:
            return False
        failed = [job.outcome for job in self._queued if job.status == FAILED]
        handles = self.plan.listener == "handle"
        if all(handles and outcome.is_handled() for outcome in failed):
            return False
        self.loose = self.loose or self.remote
        return not self.remote

    def _conclude(self) -> None:
        """Describe the final outcomes of the jobs."""
        for job in self._queued:
            if self._disordered or (self.loose and self.plan.fail_fast):
                job.loose = True
            if any(dep.loose or dep.outcome.unread for dep in job.deps):
                job.loose = True
            self.loose = self.loose or job.loose
            job.outcome.settle()
            job.outcome.causes = self._causes(job)
            if job.outdone or (job.loose and job.status == CANCELLED):
                job.outcome.be_any()  # a dependency or a callback may have cancelled it
            if job.loose:
                job.outcome.or_else = set(ENDS)

    def _causes(self, job: ModelJob) -> tuple[str, ...]:
        """Return the types of the errors that may have cancelled a job."""
        if not job.killed or job.loose:
            return ()
        kinds: set[str] = set()
        above = list(job.deps)
        while above:
            dep = above.pop()
            if dep.status == FAILED:
                kinds.update(dep.outcome.kinds())
            elif dep.killed:
                above.extend(dep.deps)
            elif dep.status == CANCELLED:
                return ()  # ended by the user, without an error of a call
        return tuple(sorted(kinds))


def _targets_of_callbacks(steps: Iterable[Step]) -> Counter[int]:
    """Count how often callbacks would end each job."""
    return Counter(
        inner.key
        for step in steps
        if isinstance(step, OnEnd)
        for inner in step.steps
        if isinstance(inner, (Cancel, Finish))
    )


def is_playable(plan: PoolPlan, remote: bool) -> bool:
    """Whether a program ends.

    On several ranks, the run waits for a manually started job, since any thread may end it.
    """
    holds = any(isinstance(step, Hold) for step in plan.steps)
    return not (holds and remote and PoolModel(plan, remote).deadlock)
