"""The job-status table: seven statuses and which may follow which.

Every change of a job's status in the core asks this room first. The table is
data, so the documentation's diagram and the tests are made from it.

========= ==================================================== ================
status    meaning                                              held by
========= ==================================================== ================
PENDING   waits for other jobs, or for the pool to execute     graph
QUEUED    may run; waits for a worker, or was sent ahead       ready, workers
RUNNING   a worker runs it                                     workers
SUCCESS   it returned                                          nobody
FAILED    it raised, or could not be sent or returned          nobody
CANCELLED taken back before it could finish                    nobody
ABORTED   its run ended, or its rank died, while it ran        nobody
========= ==================================================== ================
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
    """Return the statuses that nothing follows, as a frozenset."""
    return frozenset(old for old, new in transitions().items() if not new)
