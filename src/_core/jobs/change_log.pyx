"""From the changes that the core logged to what listeners are told.

`bsbpool.progress` gives the records their manners. A listener hears of four for each job,
so they are small, and made without the interpreter.
"""
from bsbpool._core.scheduling.dispatcher cimport ADDED, TRACKED, change_t
from bsbpool._core.jobs.handle cimport Handle, bare
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.scheduling.status cimport N_STATUSES, status_is_terminal
from libc.stdint cimport int64_t
from libc.stdlib cimport free


cdef extern from "Python.h":
    void PyObject_GC_Track(object)
    void PyObject_GC_UnTrack(object)
    bint PyObject_GC_IsTracked(object)


cdef class Record:
    """Something that happened in a pool, and why listeners hear of it."""


cdef class JobRecord(Record):
    """Something that happened to a job."""


cdef class ChangeLog:
    """Reads the log of a pool's core.

    Parameters
    ----------
    pool : Submitter
        The pool.
    statuses : sequence
        What stands for each status.
    added, update : type
        Kinds of `JobRecord` for a job that came in, and for one that changed.
    added_reason, update_reason : object
        Why a listener hears of them.
    """

    cdef Submitter pool
    cdef tuple statuses
    cdef object added
    cdef object added_reason
    cdef object update
    cdef object update_reason
    cdef object lock
    cdef object delivery_lock
    cdef object records
    cdef list listeners
    cdef list due
    cdef object events

    def __init__(
        self, Submitter pool not None, statuses, added, added_reason, update, update_reason
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

    def report_to(self, events, lock):
        """Set the queue that gets the events; called once.

        Parameters
        ----------
        events : EventQueue
            Its `records` and `due` get the records and the callbacks of jobs that have ended.
            `call_callbacks()` is called for the latter, and `handled(record)` when a listener
            returns a true value.
        lock : context manager
            Held while the log is read.
        """
        self.events = events
        self.lock = lock
        self.delivery_lock = events.delivery_lock
        self.records = events.records
        self.listeners = events.listeners
        self.due = events.due

    def gather(self):
        """Turn what was logged into records and due callbacks."""
        if self.pool._engine.d.n_changes:
            with self.lock:
                self.read_all(self.records if self.listeners else None, self.due)

    def notify(self):
        """Gather, call back, and hand the records that wait to the listeners."""
        self.gather()
        if self.due:
            self.events.call_callbacks()
        if self.records:
            with self.delivery_lock:
                deliver(self.records, self.listeners, self.events.handled)

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
            and self.pool._engine.d.jobs[change.job].flags & TRACKED
        ):
            if self.pool._on_end is not None:
                ended.append((self.pool._on_end, job))
                return 0
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
        # Until it is delivered it is no garbage, and there can be very many.
        PyObject_GC_UnTrack(record)
        return record


cdef int deliver(object waiting, list listeners, object handled) except -1:
    """Hand the records in a deque to all listeners, and take them out.

    `handled` is called with the records to which a listener said something true. When a
    listener raises, the others still hear of that record; then the first error is raised,
    and later records stay for the next delivery.
    """
    popleft = waiting.popleft
    while waiting:
        record = popleft()
        if isinstance(record, JobRecord) and not PyObject_GC_IsTracked(record):
            PyObject_GC_Track(record)
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
    return 0
