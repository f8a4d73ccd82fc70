"""The statuses of a job, and the table of legal transitions between them.

`set_status` of the dispatcher changes the status of a job, along this table only. There is one
exception: `Engine.revoke` changes SUCCESS to FAILED. The table is in `status.pxd`. "Adding a job
status" in docs/architecture.md lists the code that depends on it, and `tests/core/test_status.py`
compares the copies: `bsbpool.status`, this page, and docs/guide.md.

The last column names the modules whose tables contain jobs of that status.

========= ==================================================== ====================
status    meaning                                              modules
========= ==================================================== ====================
PENDING   waits for dependencies, or for the start of the run  graph
QUEUED    ready, or in the queue of a worker                   ready, worker_queues
RUNNING   a worker or this process runs it                     worker_queues
SUCCESS   its function returned                                none
FAILED    it raised, or could not be sent or returned          none
CANCELLED was cancelled before it ended                        none
ABORTED   the run ended, or the worker died, while it ran      none
========= ==================================================== ====================
"""


def transitions():
    """Return the table of legal transitions.

    Returns
    -------
    dict of Status to tuple of Status
        For each status the statuses that may follow it; empty when terminal.
    """
    return {
        Status(old): tuple(Status(new) for new in range(N_STATUSES) if status_is_legal(old, new))
        for old in range(N_STATUSES)
    }


def terminal():
    """Return the terminal statuses, those without a legal transition, as a frozenset."""
    return frozenset(old for old, new in transitions().items() if not new)
