"""Passes options of jobs to the tables of their pool: conditions, places, resources, retries."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from bsbpool import exceptions, resources
from bsbpool._core.jobs.special_submission import SpecialSubmission
from bsbpool._core.scheduling.engine_options import EngineOptions
from bsbpool.options import JobOptions
from bsbpool.run_context import RunContext
from bsbpool.services.node import nodes_of
from bsbpool.worker_ranks import rank_of, worker_of

MOST_SPECS = 64
ANY, ENDED, FAILURE = 1, 2, 3  # the modes of joins, see `Engine.add_join`


class Placement:
    """The part of a pool that knows where jobs with options may run.

    Parameters
    ----------
    context : RunContext
        What it uses of the pool.
    declared : mapping, optional
        The resources of the ranks.
        By default all ranks share the GPUs that CUDA_VISIBLE_DEVICES gives to this one.
    """

    def __init__(self, context: RunContext, declared: resources.Declaration | None = None) -> None:
        self._context = context
        self._engine = context.engine
        self.tables = EngineOptions(context.engine)
        self._declared = declared
        self._n_ranks: int = context.comm.get_size() if context.run.parallel else 1
        # The default resources are those of this host, which all ranks share.
        self._ranks = context.worker_ranks
        self._hosts: Sequence[str] = [socket.gethostname()] * len(self._ranks)
        self._default = resources.from_environment() if declared is None else {}
        if declared is not None and context.run.parallel:
            hosts = context.run.hosts
            self._hosts = [hosts[rank_of(i, self._n_ranks)] for i in range(len(self._ranks))]
        self._has_nodes = False
        self._kinds: dict[str, tuple[int, bool]] | None = None  # number, and whether devices
        # The last ones, by the identity of the options; most programs use a few views. The
        # references are weak because options name jobs, which executors drop when they have ended.
        self._specs: dict[int, tuple[weakref.ref[JobOptions], SpecialSubmission | None]] = {}

    def spec_of(
        self, options: JobOptions, follow: Sequence[int] = ()
    ) -> SpecialSubmission | None:
        """Return what the tables need of the options of a job; None if that is nothing.

        Parameters
        ----------
        options : JobOptions
            The options.
        follow : sequence of int, optional
            The numbers of the jobs that it follows, in place of the option `follow`.

        Raises
        ------
        JobPoolError
            When an option names a job that is not in this pool.
        ValueError
            When no rank can ever run such a job.
        """
        if follow:
            return self._make_spec(options, follow)
        known = self._specs.get(id(options))
        if known is not None and known[0]() is options:
            return known[1]
        spec = None
        if _is_special(options):
            spec = self._make_spec(options, self._numbers("follow", options.follow))
        if len(self._specs) >= MOST_SPECS:
            self._specs.clear()
        self._specs[id(options)] = weakref.ref(options), spec
        return spec

    def _make_spec(self, options: JobOptions, follow: Sequence[int]) -> SpecialSubmission:
        parallel = self._context.run.parallel
        conditions = (
            (ANY, "after_any", options.after_any),
            (FAILURE, "on_failure", options.on_failure),
            (ENDED, "on_end", options.on_end),
        )
        joins = [
            self._engine.add_join(set(self._numbers(name, jobs)), mode)
            for mode, name, jobs in conditions
            if jobs
        ]
        targets = self._targets(options) if parallel else -1
        if options.ranks > 1:
            self._check_ranks(options, follow)
        demand = self._demand(options)
        if not self.tables.is_possible(targets, demand):
            raise ValueError(f"no rank can run the job: {self._why_impossible(options)}")
        return SpecialSubmission(
            self._engine,
            priority=options.priority,
            targets=targets,
            demand=demand,
            follow=follow if parallel else (),
            strict=options.follow_grace is None,
            grace_ns=min(int((options.follow_grace or 0) * 1e9), 2**62),
            retries=options.retries,
            lost_retries=options.retries_if_lost,
            elsewhere=options.retry_elsewhere,
            n_ranks=options.ranks if options.ranks > 1 else 0,
            same_node=options.placement == "node",
            joins=joins,
        )

    def _check_ranks(self, options: JobOptions, follow: Sequence[int]) -> None:
        """Refuse a job on several ranks that can never run; prepare the tables for others."""
        from bsbpool.gangs import check_options

        run = self._context.run
        main_works = bool(self._context.main_works)
        check_options(options, run.worker_ranks, run.parallel, follow, main_works)
        if options.placement == "node" and not self._has_nodes:
            self._has_nodes = True
            nodes = nodes_of(run.hosts)[1:]
            numbers = {node: i for i, node in enumerate(dict.fromkeys(nodes))}
            self.tables.set_nodes(numbers[node] for node in nodes)

    def _why_impossible(self, options: JobOptions) -> str:
        """Return why no rank can run a job with these options."""
        targets = options.targets if self._context.run.parallel else None
        ranks = self._ranks if targets is None else sorted(set(targets))
        dead = [rank for rank in ranks if not self._is_alive(rank)]
        place = "" if targets is None else f"of targets={list(targets)}, "
        if dead and len(dead) == len(ranks):
            return f"{place}all have died"
        died = f" (died: {dead})" if dead else ""
        return f"{place}none has resources={dict(options.resources)!r}{died}"

    def _is_alive(self, rank: int) -> bool:
        """Whether a rank of a parallel run has not died."""
        return self.tables.is_possible(self.tables.add_worker_set([worker_of(rank, self._n_ranks)]))

    def _numbers(self, name: str, jobs: tuple[Any, ...]) -> list[int]:
        found = []
        for job in jobs:
            if not job.belongs_to(self._context.submitter) or job.number is None:
                raise exceptions.JobPoolError(
                    f"{name} contains {getattr(job, 'label', job)}, which is not a job of this pool"
                )
            found.append(job.number)
        return found

    def _targets(self, options: JobOptions) -> int:
        """Return the set of workers of the option `targets`; -1 without the option."""
        if options.targets is None:
            return -1
        for rank in options.targets:
            if rank not in self._ranks:
                raise ValueError(
                    f"targets contains rank {rank}, which runs no jobs of this pool; its ranks "
                    f"{self._ranks.start} to {self._n_ranks - 1} do"
                )
        return self.tables.add_worker_set(
            worker_of(rank, self._n_ranks) for rank in options.targets
        )

    # ------------------------------------------------------------------ resources

    def _demand(self, options: JobOptions) -> int:
        if not options.resources:
            return -1
        kinds = self._open()
        needs = []
        for name, value in options.resources.items():
            if name not in kinds:
                raise ValueError(
                    f"resources[{name!r}] was not declared for this pool; use create_job_pool("
                    f"resources={{{name!r}: amount}})"
                )
            kind, devices = kinds[name]
            needs.append((kind, resources.units_needed(f"resources[{name!r}]", value, devices)))
        return self.tables.add_demand(needs)

    def _open(self) -> dict[str, tuple[int, bool]]:
        """Enter the declared resources into the tables, once."""
        if self._kinds is not None:
            return self._kinds
        given = self._declared
        if given is None:
            given = self._default
        ranks = [rank_of(i, self._n_ranks) for i in range(len(self._ranks))]
        found = resources.stocks(given, self._hosts, ranks)
        kinds: dict[str, tuple[int, bool]] = {}
        for stock in found:
            number, devices = kinds.setdefault(stock.name, (len(kinds), stock.amount.devices))
            if devices != stock.amount.devices:
                raise ValueError(
                    f"resources declares {stock.name!r} as devices for some ranks and as an amount "
                    "for others"
                )
        self.tables.open_resources(len(kinds))
        for stock in found:
            number, devices = kinds[stock.name]
            self.tables.add_stock(number, stock.amount.units, stock.workers, devices)
        self._kinds = kinds
        return kinds

    def resources_of(self, number: int) -> Mapping[str, Any]:
        """Return what a job holds now: the numbers of its devices, or an amount, by name."""
        held = self.tables.devices(number)
        names = {kind: (name, devices) for name, (kind, devices) in (self._kinds or {}).items()}
        found: dict[str, Any] = {}
        for kind, (units, bits) in held.items():
            name, devices = names[kind]
            found[name] = units / resources.SCALE
            if devices:
                found[name] = tuple(i for i in range(resources.MAX_DEVICES) if bits >> i & 1)
        return found


_DEFAULT = JobOptions()
_FIELDS = (
    "after_any", "on_failure", "on_end", "targets", "follow", "priority", "retries",
    "retries_if_lost", "resources", "requires", "ranks",
)  # fmt: skip


def _is_special(options: JobOptions) -> bool:
    return any(getattr(options, name) != getattr(_DEFAULT, name) for name in _FIELDS)
