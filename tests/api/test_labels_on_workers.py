"""The text of a plain job on the rank that runs it."""

from __future__ import annotations

from typing import Any

from bsbpool import create_job_pool, current_job

from .on_ranks import on_ranks

KEPT: list[Any] = []


def label(owner: Any, *args: Any, **kwargs: Any) -> str:
    return current_job().label


def keep(owner: Any, n: int) -> None:
    """Keep a job whose text was not used while it ran."""
    KEPT.append(current_job())


def label_of_kept(owner: Any, n: int) -> str:
    return KEPT[-1].label


class Value:
    """Is no plain value."""


@on_ranks(2)
def test_a_worker_knows_plain_arguments() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = [
                pool.submit(label, 3, "a text"),
                pool.submit(label, n=[1, 2], flag=True),
                pool.submit(label),
                pool.submit(label, ("x", None), 2.5),
                pool.submit(label, Value()),
                pool.options(timeout=50).submit(label, 7, Value()),
                pool.queue(label, (3,), submitter="Alice"),
            ]
            kept = pool.submit(keep, 1)
            later = pool.submit(label_of_kept, 2, deps=[kept])
        pool.execute()
        if pool.is_main():
            texts = [job.result for job in jobs]
            assert texts[:3] == [
                "job 0 'label(3, 'a text')'",
                "job 1 'label(n=[1, 2], flag=True)'",
                "job 2 'label()'",
            ]
            assert texts[3] == "job 3 'label(('x', None), 2.5)'" == jobs[3].label
            assert texts[4] == "job 4 'label'"
            assert texts[5] == "job 5 'label(7, <Value>)'" == jobs[5].label
            assert texts[6] == "job 6 'label(3)'"  # the submitter stays on the main rank
            assert later.result == "job 7 'keep'"


@on_ranks(1)
def test_one_process_knows_all_arguments() -> None:
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(label, 3, Value())
        pool.execute()
        assert job.result == "job 0 'label(3, <Value>)'"
