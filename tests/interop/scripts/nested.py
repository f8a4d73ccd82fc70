"""Opens pools within jobs and within pools."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

from typing import Any

import scenes
from scenes import folder

import tissue
from bsb import Scaffold


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


network = Scaffold(tissue.configuration(folder / "tissue.hdf5"))
scenes.play(in_a_pool, in_a_job)
