"""Runs programs in sequence on all ranks, each with a time limit."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from differential import arrays, callables, errors, methods, values
from differential.executor_compare import compare_executor
from differential.executor_plan import ExecutorPlan, draw_executor_plan
from differential.executor_run import ExecutorRun
from differential.pool_compare import compare_pool
from differential.pool_model import is_playable
from differential.pool_plan import PoolPlan, draw_pool_plan
from differential.pool_run import PoolRun
from differential.shrink import shrink
from sim.plan import show

TESTS = Path(__file__).parents[1]
SECONDS = 60.0
"""The time limit of a program in seconds."""
TRIES = 200
"""The largest number of programs that are run to shrink one."""
MOST_REPORTED = 10
MAKERS = (arrays, callables, errors, methods, values)  # registers their makers


class Kind(NamedTuple):
    """A kind of programs."""

    draw: Callable[[int], Any]
    run: type[Any]
    compare: Callable[..., list[str]]


KINDS = {
    "pool": Kind(draw_pool_plan, PoolRun, compare_pool),
    "executor": Kind(draw_executor_plan, ExecutorRun, compare_executor),
}


class Session:
    """Runs programs on the ranks of a communicator, or in this process alone.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part.
    """

    def __init__(self, comm: Any = None) -> None:
        self._comm = comm
        self.rank = 0 if comm is None else comm.Get_rank()
        self.size = 1 if comm is None else comm.Get_size()
        self.seed = -1
        self.skip: tuple[str, ...] = ()

    def play(self, plan: Any) -> list[str]:
        """Run a program; return the differences from the oracle. On rank 0."""
        if isinstance(plan, PoolPlan) and not is_playable(plan, self.size > 1):
            return []
        if self._comm is not None:
            self._comm.bcast(plan)
        return self._play(plan)

    def follow(self) -> None:
        """Take part in the programs of rank 0 until it calls `end`."""
        while (plan := self._comm.bcast(None)) is not None:
            self._play(plan)

    def end(self) -> None:
        """Release the other ranks."""
        if self._comm is not None:
            self._comm.bcast(None)

    def _play(self, plan: Any) -> list[str]:
        kind = KINDS["executor" if isinstance(plan, ExecutorPlan) else "pool"]
        watch = self._watch(plan)
        try:
            run = kind.run(plan)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run.run()
            ranks = [run.here]
            if self._comm is not None:
                ranks = self._comm.gather(run.here)
            return self._compare(kind, run, ranks) if self.rank == 0 else []
        finally:
            watch.cancel()
            faulthandler.cancel_dump_traceback_later()

    def _compare(self, kind: Kind, run: Any, ranks: Any) -> list[str]:
        try:
            return kind.compare(run, ranks)
        except Exception as error:  # an error of the oracle itself is also a difference
            return [f"the oracle raises {error!r}", *traceback.format_tb(error.__traceback__)]

    def _watch(self, plan: Any) -> threading.Timer:
        """End the process, and thereby all ranks, if a program takes too long."""

        def end() -> None:
            if self.rank == 0:
                print(f"seed {self.seed} hangs: {show(plan)}", flush=True)
                threading.Event().wait(3.0)  # so that the other ranks can print their stacks
            os._exit(3) if self.rank == 0 else None

        faulthandler.dump_traceback_later(SECONDS, file=sys.__stderr__)
        watch = threading.Timer(SECONDS + 1, end)
        watch.daemon = True
        watch.start()
        return watch

    # ------------------------------------------------------------ seeds

    def play_seeds(self, kind: str, seeds: range) -> int:
        """Run the programs of seeds, print those that differ; return their number."""
        logging.disable(logging.CRITICAL)
        try:
            return self._play_seeds(kind, seeds)
        finally:
            logging.disable(logging.NOTSET)

    def _play_seeds(self, kind: str, seeds: range) -> int:
        different = 0
        for self.seed in seeds:
            plan = KINDS[kind].draw(self.seed)
            if any(word in show(plan) for word in self.skip):
                continue
            wrong = self.play(plan)
            if wrong:
                different += 1
                self._report(kind, plan, wrong)
                if different == MOST_REPORTED:
                    print(f"stopped at seed {self.seed}", flush=True)
                    break
        return different

    def _report(self, kind: str, plan: Any, wrong: list[str]) -> None:
        small, also_wrong = shrink(plan, self.play, TRIES)
        print(f"{kind} seed {self.seed} on {self.size} ranks: {wrong[0]}")
        print(f"  again:  python -m differential --kind {kind} --first {self.seed} --seeds 1")
        if also_wrong:
            print(f"  small:  {also_wrong[0]}\n          {show(small)}", flush=True)
