"""From the changes that the core logged to what listeners are told.

`bsbpool.progress` gives the records their manners. A listener hears of four for each job,
so they are small, and made without the interpreter.
"""
from bsbpool._core.dispatcher cimport ADDED, WATCHED, change_t
from bsbpool._core.handle cimport Handle, bare
from bsbpool._core.intake cimport Intake
from bsbpool._core.status cimport N_STATUSES, status_is_terminal
from libc.stdint cimport int64_t
from libc.stdlib cimport free


cdef class Record:
    """Something that happened in a pool, and why listeners hear of it."""


cdef class JobRecord(Record):
    """Something that happened to a job."""


cdef class Logbook:
    """Reads the log of a pool's core.

    Parameters
    ----------
    pool : Intake
        The pool.
    statuses : sequence
        What stands for each status.
    added, update : type
        Kinds of `JobRecord` for a job that came in, and for one that changed.
    added_reason, update_reason : object
        Why a listener hears of them.
    """

    cdef Intake pool
    cdef tuple statuses
    cdef object added
    cdef object added_reason
    cdef object update
    cdef object update_reason

    def __init__(
        self, Intake pool not None, statuses, added, added_reason, update, update_reason
    ):
        self.pool = pool
        self.statuses = tuple(statuses)
        if len(self.statuses) != N_STATUSES:
            raise ValueError(f"statuses: {N_STATUSES} are needed, not {len(self.statuses)}")
        if not issubclass(added, JobRecord) or not issubclass(update, JobRecord):
            raise TypeError("added, update: kinds of JobRecord are needed")
        self.added = added
        self.added_reason = added_reason
        self.update = update
        self.update_reason = update_reason

    def read(self, lock, records, list ended not None):
        """Append what was logged since the last time.

        Parameters
        ----------
        lock : context manager
            Entered when there is anything to read, so that readers take turns.
        records : list or None
            Gets a record of each change; None when nobody listens.
        ended : list
            Gets (callback, job) for the callbacks of jobs that have ended.
        """
        if self.pool._engine.d.n_changes:
            with lock:
                self.read_all(records, ended)

    cdef int read_all(self, object records, list ended) except -1:
        cdef change_t *changes
        cdef int64_t n = self.pool._engine.take_log(&changes)
        cdef int64_t i
        try:
            for i in range(n):
                if changes[i].job < len(self.pool._job_queue):  # else its pool has closed
                    self.note(&changes[i], records, ended)
        finally:
            free(changes)
        return 0

    cdef int note(self, change_t *change, object records, list ended) except -1:
        cdef Handle job = <Handle>self.pool._job_queue[change.job]
        if records is not None:
            records.append(self.record(change, job))
        if (
            status_is_terminal(change.new)
            and self.pool._engine.d.jobs[change.job].flags & WATCHED
        ):
            ended.extend([(callback, job) for callback in job._callbacks])
            job._callbacks = ()
        return 0

    cdef JobRecord record(self, change_t *change, Handle job):
        cdef JobRecord record
        if change.old == ADDED:
            record = bare(self.added)
            record._reason = self.added_reason
            record._status = self.pool.status  # changes of it are noted after this
        else:
            record = bare(self.update)
            record._reason = self.update_reason
            record._status = self.statuses[change.new]
            record._old_status = self.statuses[change.old]
        record._pool = self.pool
        record._job = job
        return record


def deliver(waiting, list listeners not None, handled):
    """Hand the records in a deque to all listeners; see `bsbpool.progress.Bulletin.deliver`."""
    popleft = waiting.popleft
    while waiting:
        record = popleft()
        error = None
        answered = False
        for listener in tuple(listeners):
            try:
                if listener(record):
                    answered = True
            except BaseException as raised:
                error = error or raised
        if answered:
            handled(record)
        if error is not None:
            raise error
