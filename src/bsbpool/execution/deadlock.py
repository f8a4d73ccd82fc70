"""The error message of a run in which jobs wait for other jobs and none can run."""

from __future__ import annotations

from bsbpool._typing import TYPE_CHECKING
from bsbpool.naming import job_text
from bsbpool.status import JobStatus

if TYPE_CHECKING:
    from bsbpool.run_context import RunContext

MOST_NAMED = 6
"""The number of jobs of a chain that are named."""


def deadlock_message(context: RunContext) -> str:
    """Describe a chain of waiting jobs, from the oldest one to the one that cannot end."""
    from bsbpool._core.jobs.wait_chain import wait_chain

    chain = wait_chain(context.engine)
    n = context.engine.unfinished
    many = "1 job has" if n == 1 else f"{n:,} jobs have"
    return f"Deadlock: {many} not finished, but none can run. {_sentence(context, chain)}"


def _sentence(context: RunContext, chain: list[int]) -> str:
    names = [_name(context, number) for number in chain]
    if len(names) > MOST_NAMED:
        left_out = len(names) - MOST_NAMED
        names[MOST_NAMED - 1 : -1] = [f"... ({left_out:,} more)"]
    text = "J" + " waits for ".join(names[:2])[1:]
    text += "".join(f", which waits for {name}" for name in names[2:])
    if chain[-1] in chain[:-1]:
        return f"{text}."
    joint = ", which " if len(chain) > 1 else " "
    return f"{text}{joint}{_ending(context, chain[-1])}."


def _name(context: RunContext, number: int) -> str:
    if number >= len(context.jobs):
        return f"{job_text(number)} (not queued)"
    return context.jobs[number].label


def _ending(context: RunContext, number: int) -> str:
    status: JobStatus = context.engine.status(number)
    if status is JobStatus.RUNNING:
        return "was set to RUNNING by change_status() and has not finished"
    if status is JobStatus.PENDING:
        return "waits for a job that is not in this pool"
    return f"is {status.value}"
