"""What to say when jobs wait for others, and nothing can run any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bsbpool.status import JobStatus

if TYPE_CHECKING:
    from bsbpool.pool import JobPool

MOST_NAMED = 6
"""Jobs of the chain that are named."""
LONGEST_NAME = 80


def deadlock_message(pool: JobPool) -> str:
    """Say who waits for whom, from the oldest job that waits to the one that never ends."""
    from bsbpool._core.waits import wait_chain

    chain = wait_chain(pool._engine)  # what the core knows counts, whatever handles say
    n = pool._engine.unfinished
    many = "1 job has" if n == 1 else f"{n:,} jobs have"
    return f"Deadlock: {many} not ended, but none can run. {_sentence(pool, chain)}"


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
        return f"job {number} (never queued)"
    name = pool._job_queue[number].description
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}..."
    return f"job {number} ({name})"


def _ending(pool: JobPool, number: int) -> str:
    status: JobStatus = pool._engine.status(number)
    if status is JobStatus.RUNNING:
        return "was begun by hand, and nobody has ended it"
    if status is JobStatus.PENDING:
        return "waits for something that this pool does not know"
    return f"is {status.value}"
