"""Uses a network's pool by hand, as BSB's documentation shows, and its lock and its tests."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

import threading
import time
import unittest
from typing import Any

import scenes
from scenes import comm, error_of, folder, rank

import bsb.options
import journal
import tissue
from bsb import Chunk, Scaffold
from bsb.services import MPI, JobPool
from bsb.services.pool import FunctionJob, JobStatus, PoolStatus
from bsb_test import ConfigFixture, NetworkFixture, RandomStorageFixture, engines, timeout

bsb.options.quiet = True
CELLS = 25


def power(scaffold: Any, base: int, exponent: int = 2) -> int:
    """Run as a job; it gets the network of its own rank."""
    assert scaffold is network
    return base**exponent


def results() -> Any:
    here = "closure"

    def from_here(scaffold: Any) -> str:
        return f"a {here}"

    with network.create_job_pool(quiet=True) as pool:
        if pool.is_main():
            square = pool.queue(power, (3,))
            cube = pool.submit(power, 2, exponent=3)
            late = pool.queue(lambda scaffold: [7], deps=[square, cube], submitter=network)
            inside = pool.queue(from_here)
        results = pool.execute(return_results=True)
        seen = {}
        if pool.is_main():
            seen = {
                "in_order": list(results) == [square, cube, late, inside] == pool.jobs,
                "values": list(results.values()),
                "attributes": [job.result for job in (square, cube, late, inside)],
                "statuses": [job.status is JobStatus.SUCCESS for job in results],
                "kinds": [isinstance(job, FunctionJob) for job in results],
                "submitted": pool.get_submissions_of(network) == [late],
                "names": [square.name == str(power), late.name == str(network)],
            }
        seen["workers"] = results == {} or rank == 0
        seen["closing"] = pool.status is PoolStatus.CLOSING
    return {**seen, "after": error_of(pool.execute), "jobs": len(pool.jobs), "id": pool.id}


def everywhere() -> Any:
    """All ranks queue, as those do who forget to ask `is_main`."""
    with network.create_job_pool(quiet=True) as pool:
        job = pool.queue(power, (5,))
        pool.execute()
        return {"status": job.status.name, "result": job.result if rank == 0 else None}


def globals_of_a_lambda() -> Any:
    """As with bsb, a global is that of the rank that runs the job."""
    with network.create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.queue(lambda scaffold: [rank, scaffold is network])
        return pool.execute(return_results=True) and pool.jobs[0].result


def never_executed() -> Any:
    with network.create_job_pool(quiet=True) as pool:
        job = pool.queue(power, (5,)) if pool.is_main() else None
    return job and job.status.name


def strategies() -> Any:
    """Queue strategies by hand, a connection after the placement of its cells."""
    size = network.network.chunk_size
    chunks = [Chunk([x, y, 0], size) for x in (0, 1) for y in (0, 1)]
    soma, moon = network.placement.soma, network.placement.moon
    linked = network.connectivity.a_soma_to_moon
    network.run_pipelines(fail_fast=True)
    with network.create_job_pool(fail_fast=True, quiet=True) as pool:
        if pool.is_main():
            placed = [pool.queue_placement(soma, chunk) for chunk in chunks]
            around = [pool.queue_placement(moon, chunk, deps=placed) for chunk in chunks]
            link = pool.queue_connectivity(linked, chunks[:1], iter(chunks), deps=around)
            found = pool.get_submissions_of(soma) == placed
            shown = [placed[0].name, link.name, len(link._submit_ctx.chunks)]
        pool.execute()
    cells = [len(network.get_placement_set(name)) for name in ("soma", "moon")]
    return {
        "journal": journal.take(),
        "cells": cells,
        "found": found if rank == 0 else None,
        "shown": shown if rank == 0 else None,
    }


def locked() -> Any:
    """Jobs write to one file at once, in scopes and out of them, while main sleeps."""

    def write(scaffold: Any, number: int) -> int:
        cells = scaffold.get_placement_set("seed")
        lock, size = scaffold.storage._engine._lock, scaffold.network.chunk_size
        with lock.read(), lock.write(), scaffold.storage.write_scope():
            before = len(cells)
            cells.append_data(Chunk([number, 0, 0], size), positions=[[1.0 * number, 2, 3]])
            return len(cells) - before

    def sleep(event: Any) -> None:
        time.sleep(0.05)

    if rank == 0:
        network.get_placement_set("seed").clear()
    comm.Barrier()
    with network.create_job_pool(quiet=True) as pool:
        pool.add_listener(sleep)
        if pool.is_main():
            for number in range(CELLS):
                pool.queue(write, (number,))
        grown = pool.execute(return_results=True)
    with network.storage._engine._lock.single_write() as fence:
        fence.guard()
        journal.write_down("single", None, sum, [])
    return {
        "grown": sorted((grown or {}).values()),
        "cells": len(network.get_placement_set("seed")),
        "alone": len(journal.take()),
    }


@timeout(60)
def in_a_thread() -> None:
    """Not in the main thread; bsb's own tests run so."""
    seen.update(main=threading.current_thread() is threading.main_thread())
    with network.create_job_pool(quiet=True) as pool:
        if pool.is_main():
            for _number in range(8):
                pool.queue(lambda scaffold: threading.current_thread().name)
        threads = pool.execute(return_results=True)
        seen.update(threads=sorted((threads or {}).values()), mine=threading.current_thread().name)
    network.compile(append=True, only=["grain"], skip_after_connectivity=True)


seen: dict[str, Any] = {}


def timed() -> Any:
    in_a_thread()
    return {**seen, "journal": journal.take()}


def in_a_pool() -> Any:
    """All ranks open both, one in the other; they are of one second, but not of one id."""
    with network.create_job_pool(quiet=True) as outer, network.create_job_pool(quiet=True) as inner:
        different = outer.id != inner.id
        if outer.is_main():
            outer.queue(lambda scaffold: "outer")
            inner.queue(lambda scaffold: "inner")
        results = [*(inner.execute(return_results=True) or {}).values()]
        results += (outer.execute(return_results=True) or {}).values()
    return {"different": different, "results": results}


def in_a_job() -> Any:
    """The pool of a job runs its jobs there."""

    def work(scaffold: Any, number: int) -> list[int]:
        with scaffold.create_job_pool(quiet=True) as inner:
            first = inner.queue(lambda scaffold: number)
            inner.queue(lambda scaffold: -number, deps=[first])
            return [*inner.execute(return_results=True).values()]

    with network.create_job_pool(quiet=True) as pool:
        if pool.is_main():
            for number in range(4):
                pool.queue(work, (number,))
        return [*(pool.execute(return_results=True) or {}).values()]


class Compiled(
    ConfigFixture,
    RandomStorageFixture,
    NetworkFixture,
    unittest.TestCase,
    config="chunked",
    engine_name="hdf5",
):
    """The fixtures of bsb's tests around a network."""

    @timeout(60)
    def test_compile(self) -> None:
        self.network.compile(clear=True)
        self.assertEqual(12, len(self.network.get_placement_set("A")))

    @timeout(60)
    def test_pool(self) -> None:
        pool = JobPool(MPI.bcast(77), self.network)
        with pool:
            pool.queue(lambda scaffold: None)
            pool.execute()


class Placements(engines.TestPlacementSet, unittest.TestCase, engine_name="hdf5"):
    """Some of the tests that bsb offers to storage engines; these run pools."""


class Connections(engines.TestConnectivitySet, unittest.TestCase, engine_name="hdf5"):
    """As above."""


THEIRS = {
    Compiled: ["test_compile", "test_pool"],
    Placements: ["test_4chunks_25cells", "test_get_all_chunks", "test_load_positions"],
    Connections: ["test_io", "test_connect_connect"],
}


def their_tests() -> Any:
    tests = [kind(name) for kind, names in THEIRS.items() for name in names]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(tests))
    return {"ran": result.testsRun, "skipped": len(result.skipped), "ok": result.wasSuccessful()}


network = Scaffold(tissue.configuration(folder / "tissue.hdf5"))
scenes.play(
    results,
    everywhere,
    never_executed,
    in_a_pool,
    in_a_job,
    strategies,
    locked,
    timed,
    their_tests,
    globals_of_a_lambda,
)
