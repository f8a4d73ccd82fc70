"""The program of a restart run: a graph of jobs that leave traces, with a journal.

    python -m chaos.restart_program FOLDER SEED

Each job appends a line to a file of its own, which is its effect. The results are written to
`results.json` when all jobs have ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from bsbpool import create_job_pool
from bsbpool.journal import Journal

LARGE = 60_000
"""Bytes of a large result, which is more than `side_file_size` below."""


class JobPlan(NamedTuple):
    """A job: those whose results it gets, how long it takes, and whether its result is large."""

    inputs: tuple[int, ...]
    after: tuple[int, ...]
    seconds: float
    is_large: bool


class RestartPlan:
    """The jobs of a seed.

    Attributes
    ----------
    jobs : list of JobPlan
        In the order of queueing.
    has_keys : bool
        Whether jobs have keys of the user.
    sync : float or str
        The argument `sync` of the journal.
    """

    def __init__(self, seed: int) -> None:
        choose = random.Random(seed)
        self.jobs = []
        for number in range(choose.randrange(40, 120)):
            earlier = range(max(0, number - 30), number)
            inputs, after = (
                tuple(choose.sample(earlier, min(len(earlier), choose.choice((0, 0, 1, 3)))))
                for _ in range(2)
            )
            seconds = choose.choice((0, 0.001, 0.01)) * choose.random()
            self.jobs.append(JobPlan(inputs, after, seconds, choose.random() < 0.1))
        self.has_keys = choose.random() < 0.3
        self.sync = choose.choice((1.0, 0.05, "always", "never"))

    def results(self) -> list[str]:
        """Return the digests of the results of a run that is not killed."""
        found: list[str] = []
        for number, job in enumerate(self.jobs):
            found.append(digest_of(number, [found[i] for i in job.inputs]))
        return found


def digest_of(number: int, inputs: list[str]) -> str:
    """Return the digest that the result of a job has."""
    return hashlib.sha256(repr((number, inputs)).encode()).hexdigest()


def work(owner: Any, folder: str, number: int, job: Any, *inputs: Any) -> Any:
    """Leave a trace, and return the number of the job, its digest, and much or little data."""
    _, _, seconds, is_large = job
    time.sleep(seconds)
    with open(f"{folder}/effects/{number}", "a") as file:
        file.write("ran\n")
    digest = digest_of(number, [found[1] for found in inputs])
    return number, digest, bytes(LARGE if is_large else 10)


def main(folder: Path, seed: int) -> None:
    """Run, and write the results."""
    plan = RestartPlan(seed)
    journal = Journal(folder / "run.journal", sync=plan.sync, side_file_size=LARGE // 2)
    with create_job_pool(quiet=True, journal=journal) as pool:
        jobs: list[Any] = []
        if pool.is_main():
            for number, job in enumerate(plan.jobs):
                view = pool.options(key=f"job {number}") if plan.has_keys else pool
                inputs = [jobs[i] for i in job.inputs]
                args = str(folder), number, tuple(job), *inputs
                jobs.append(view.queue(work, args, deps=[jobs[i] for i in job.after]))
            print("ready", flush=True)
        pool.execute()
        if pool.is_main():
            results = [job.result[1] for job in jobs]
            unfinished = folder / "results.new"
            unfinished.write_text(json.dumps(results))
            os.rename(unfinished, folder / "results.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
