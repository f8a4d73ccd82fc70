"""What to say when jobs wait for others, and nothing can run any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bsbpool.status import JobStatus

if TYPE_CHECKING:
    from bsbpool.pool import JobPool

MOST_NAMED = 6
"""Jobs of the chain that are named."""


def deadlock_message(pool: JobPool) -> str:
    """Say who waits for whom, from the oldest job that waits to the one that never ends."""
    from bsbpool._core.jobs.wait_chain import wait_chain

    chain = wait_chain(pool._engine)  # what the core knows counts, whatever handles say
    n = pool._engine.unfinished
    many = "1 job has" if n == 1 else f"{n:,} jobs have"
    return f"Deadlock: {many} not finished, but none can run. {_sentence(pool, chain)}"


def _sentence(pool: JobPool, chain: list[int]) -> str:
    names = [_name(pool, number) for number in chain]
    if len(names) > MOST_NAMED:
        left_out = len(names) - MOST_NAMED
        names[MOST_NAMED - 1 : -1] = [f"... ({left_out:,} more)"]
    text = "J" + " waits for ".join(names[:2])[1:]
    text += "".join(f", which waits for {name}" for name in names[2:])
    if chain[-1] in chain[:-1]:
        return f"{text}."
    joint = ", which " if len(chain) > 1 else " "
    return f"{text}{joint}{_ending(pool, chain[-1])}."


def _name(pool: JobPool, number: int) -> str:
    if number >= len(pool._job_queue):
        return f"job {number} (not queued)"
    label: str = pool._job_queue[number].label
    return label


def _ending(pool: JobPool, number: int) -> str:
    status: JobStatus = pool._engine.status(number)
    if status is JobStatus.RUNNING:
        return "was set to RUNNING by hand and has not been ended"
    if status is JobStatus.PENDING:
        return "waits for a job that is not in this pool"
    return f"is {status.value}"
