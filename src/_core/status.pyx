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
ABORTED   its run ended while it ran; its outcome is not known nobody
========= ==================================================== ================
"""
from libc.stdint cimport uint8_t

cdef enum:
    TO_QUEUED = 1 << QUEUED
    TO_RUNNING = 1 << RUNNING
    TO_SUCCESS = 1 << SUCCESS
    TO_FAILED = 1 << FAILED
    TO_CANCELLED = 1 << CANCELLED
    TO_ABORTED = 1 << ABORTED

# One bit per legal next status; a terminal status has none.
cdef uint8_t[N_STATUSES] LEGAL
LEGAL[<int>PENDING] = TO_QUEUED | TO_CANCELLED
# QUEUED -> FAILED: its arguments could not be sent, so it never ran.
LEGAL[<int>QUEUED] = TO_RUNNING | TO_FAILED | TO_CANCELLED
LEGAL[<int>RUNNING] = TO_SUCCESS | TO_FAILED | TO_CANCELLED | TO_ABORTED
LEGAL[<int>SUCCESS] = 0
LEGAL[<int>FAILED] = 0
LEGAL[<int>CANCELLED] = 0
LEGAL[<int>ABORTED] = 0


cdef bint status_is_terminal(uint8_t status) noexcept nogil:
    return LEGAL[status] == 0


cdef bint status_is_legal(uint8_t old, uint8_t new) noexcept nogil:
    return (LEGAL[old] >> new) & 1


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
