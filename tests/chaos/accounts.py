"""Compare the outcomes that the main rank reports with the ledgers of the ranks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENDS = {"success", "failed", "cancelled", "aborted"}


class Accounts:
    """What is left of a run in its folder.

    Attributes
    ----------
    begun, ended : Counter
        How often each job, as (pool, number), began and ended, by the ledgers.
    died : dict of int to float
        When processes killed themselves, by process number.
    pools : list
        What main believes.
    """

    def __init__(self, folder: Path) -> None:
        self.begun: Counter[tuple[int, int]] = Counter()
        self.ended: Counter[tuple[int, int]] = Counter()
        self.died: dict[int, float] = {}
        for path in folder.glob("ledger-*"):
            for line in path.read_text().splitlines():
                word, first, second = line.split()
                if word == "die":
                    self.died[int(first)] = float(second)
                else:
                    which = self.begun if word == "begin" else self.ended
                    which[int(first), int(second)] += 1
        self.unwritten: Counter[int] = Counter()
        believed = folder / "believed.json"
        self.pools = json.loads(believed.read_text()) if believed.exists() else []

    def statuses(self) -> Counter[str]:
        """Return the number of jobs by outcome."""
        return Counter(job["status"] for pool in self.pools for job in pool["jobs"])

    def noticed(self) -> list[tuple[int, float]]:
        """Return the ranks that main reported as lost inside a job, and when."""
        return [(rank, when) for pool in self.pools for rank, when in pool["noticed"]]

    def mistakes(self, dead: set[int]) -> list[str]:
        """Return the contradictions, given the ranks that died."""
        found = [] if self.pools else ["main left nothing behind"]
        for index, pool in enumerate(self.pools):
            for number, job in enumerate(pool["jobs"]):
                found += [
                    f"pool {index}, job {number} ({job['status']}): {what}"
                    for what in self._mistakes_of(pool, index, number, job, dead)
                ]
        return found

    def _mistakes_of(
        self, pool: dict[str, Any], index: int, number: int, job: dict[str, Any], dead: set[int]
    ) -> Iterator[str]:
        begun, ended = self.begun[index, number], self.ended[index, number]
        status = job["status"]
        met = all(pool["jobs"][dep]["status"] == "success" for dep in job["deps"])
        if status not in ENDS:
            yield "has not ended"
        if begun > 1:
            yield f"began {begun} times"
        if not job["right"]:
            yield "has the result of another"
        if status == "success" and (begun, ended) != (1, 1):
            yield f"began {begun} times and ended {ended} times"
        if status == "failed" and (begun, ended) != (1, 0):
            yield f"began {begun} times and ended {ended} times"
        if status in ("success", "failed", "aborted") and not met:
            yield "ran though what it depends on had not succeeded"
        if status == "aborted" and job["rank"] not in dead and not pool["over"]:
            yield f"is said to have died with rank {job['rank']}, which lives"
        if status == "aborted" and not begun and not pool["over"]:
            # A rank may die after it recorded the start of a job, before the first line of the job.
            self.unwritten[job["rank"]] += 1
            if self.unwritten[job["rank"]] > 1:
                yield "had not begun, and was not the only one of its rank"
        if status == "cancelled" and begun:
            yield "began"
        if status == "cancelled" and met and not pool["over"]:
            yield "has no reason to be cancelled"
