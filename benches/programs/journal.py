"""No-op jobs with a journal beside none, and the opening of a large journal."""

from __future__ import annotations

import os
import tempfile
import time
from statistics import median

from benches.programs.common import Meter, noop, options, resident, say
from bsbpool import create_job_pool
from bsbpool._core.journal.records import RecordBuffer
from bsbpool.journal import Journal, header
from bsbpool.journal.file import JournalFile


def once(jobs: int, path: str | None) -> dict[str, float] | None:
    """Run one pool; return the main rank's figures."""
    journal = None if path is None else Journal(path)
    with create_job_pool(quiet=True, journal=journal) as pool:
        meter = Meter()
        began = time.thread_time()
        if pool.is_main():
            pool.queue_many(noop, zip(range(jobs)))
        pool.execute()
        figures = meter.read()
        figures["thread"] = time.thread_time() - began
        return figures if pool.is_main() else None


def compare(jobs: int, repeats: int, folder: str) -> dict[str, float] | None:
    """Run pools without and with a journal, one after the other; return the medians."""
    taken: dict[str, list[dict[str, float]]] = {"none": [], "journal": [], "resumed": []}
    for number in range(repeats):
        path = os.path.join(folder, f"{number}.journal")
        for name, given in (("none", None), ("journal", path), ("resumed", path)):
            figures = once(jobs, given)
            if figures is None:
                continue
            taken[name].append(figures)
    if not taken["none"]:
        return None
    return {
        f"{name}_{key}": median(run[key] for run in runs)
        for name, runs in taken.items()
        for key in runs[0]
    }


def write_journal(path: str, jobs: int) -> None:
    """Write a journal with so many jobs."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(header.pack({}))
        for first in range(0, jobs, 100_000):
            buffer = RecordBuffer()
            for _ in range(first, min(jobs, first + 100_000)):
                buffer.add(1, 3, 1, os.urandom(16), b"\x80\x04K\x01.", attempts=1)
            batch = buffer.take()
            batch.seal()
            file.write(batch)


def opening(jobs: int, folder: str) -> dict[str, float]:
    """Return the seconds and the bytes a job of opening a journal."""
    path = os.path.join(folder, "large.journal")
    write_journal(path, jobs)
    before = resident()
    began = time.perf_counter()
    file = JournalFile(path)
    seconds = time.perf_counter() - began
    taken = (resident() - before) / jobs
    assert len(file.table) == jobs
    file.close()
    return {"open_seconds": seconds, "open_bytes": taken}


def main() -> None:
    given = options(jobs=100_000, known=0, repeats=3)
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(given.jobs, given.repeats, folder) or {}
        if figures and given.known:
            figures |= opening(given.known, folder)
    if figures:
        say(jobs=given.jobs, **figures)


if __name__ == "__main__":
    main()
