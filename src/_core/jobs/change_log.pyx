"""The change log: turns recorded status changes into progress records and due callbacks.

`bsbpool.progress` has the public classes of records. A listener gets four records for each job, so
records are small, and this module makes them without calling Python code.
"""
from bsbpool._core.jobs.handle cimport Handle, new_instance
from bsbpool._core.jobs.submission cimport GROUP_BEGINS, GROUP_ENDED, Submitter
from bsbpool._core.scheduling.dispatcher_tables cimport ADDED, TRACKED, change_t
from bsbpool._core.scheduling.status cimport N_STATUSES, status_is_terminal
from libc.stdint cimport int64_t
from libc.stdlib cimport free


cdef extern from "Python.h":
    void PyObject_GC_Track(object)
    void PyObject_GC_UnTrack(object)
    bint PyObject_GC_IsTracked(object)


cdef class Record:
    """An event of a pool, and the reason for which it is reported to listeners."""


cdef class JobRecord(Record):
    """An event of a job."""


cdef class ChangeLog:
    """Reads the changes that the tables of a pool record.

    Parameters
    ----------
    pool : Submitter
        The pool.
    statuses : sequence
        The objects that stand for the statuses, see `Engine`.
    added, update : type
        The subclasses of `JobRecord` for the addition of a job, and for a change of its status.
    added_reason, update_reason : object
        The reasons of these records.
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
            raise ValueError(
                f"statuses must have {N_STATUSES} elements, got {len(self.statuses)}"
            )
        if not issubclass(added, JobRecord) or not issubclass(update, JobRecord):
            raise TypeError("added and update must be subclasses of JobRecord")
        self.added = added
        self.added_reason = added_reason
        self.update = update
        self.update_reason = update_reason

    def connect(self, events, lock):
        """Set the queue that receives the events. To be called once.

        Parameters
        ----------
        events : EventQueue
            Its lists `records` and `due` receive the records, and the callbacks of jobs that have
            ended. Its method `call_callbacks()` calls the latter; its method `handled(record)` is
            called for each record for which a listener returned a true value.
        lock : context manager
            Held while the changes are read, so that records are in the order of the changes.
        """
        self.events = events
        self.lock = lock
        self.delivery_lock = events.delivery_lock
        self.records = events.records
        self.listeners = events.listeners
        self.due = events.due

    def gather(self):
        """Turn the changes recorded so far into records and due callbacks. From any thread."""
        if self.pool.engine.d.n_changes:
            with self.lock:
                self.read_changes(self.records if self.listeners else None, self.due)

    def notify(self):
        """Gather, call the due callbacks, and deliver the records to the listeners."""
        self.gather()
        if self.due:
            self.events.call_callbacks()
        if self.records:
            with self.delivery_lock:
                deliver(self.records, self.listeners, self.events.handled)

    cdef int read_changes(self, object records, list due) except -1:
        cdef change_t *changes
        cdef int64_t n = self.pool.engine.detach_changes(&changes)
        cdef int64_t i
        try:
            if self.pool.record_end != NULL:
                self.pool.record_end(self.pool.journal, None, GROUP_BEGINS)
            for i in range(n):
                if records is None and not status_is_terminal(changes[i].new):
                    continue
                if changes[i].job < len(self.pool.job_list):  # else the pool is closed
                    self.read_change(&changes[i], records, due)
        finally:
            free(changes)
        if self.pool.record_end != NULL:
            self.pool.record_end(self.pool.journal, None, GROUP_ENDED)
        return 0

    cdef int read_change(self, change_t *change, object records, list due) except -1:
        """Append the record of a change to `records`, and callbacks that are now due to `due`.

        `records` is None if there are no listeners.
        """
        cdef Handle job = <Handle>self.pool.job_list[change.job]
        if records is not None:
            records.append(self.new_record(change, job))
        if (
            status_is_terminal(change.new)
            and self.pool.engine.d.jobs[change.job].flags & TRACKED
        ):
            if self.pool.record_end != NULL:
                self.pool.record_end(self.pool.journal, job, change.new)
            if self.pool.on_job_end is not None:
                due.append((self.pool.on_job_end, job))
                return 0
            callbacks = job.completion_callbacks
            if callbacks:
                due.extend([(callback, job) for callback in callbacks])
                job.completion_callbacks = ()
        return 0

    cdef JobRecord new_record(self, change_t *change, Handle job):
        cdef JobRecord record
        if change.old == ADDED:
            record = new_instance(self.added)
            record._reason = self.added_reason
            record._status = self.pool.status
        else:
            record = new_instance(self.update)
            record._reason = self.update_reason
            record._status = self.statuses[change.new]
            record._old_status = self.statuses[change.old]
        record._pool = self.pool
        record._job = job
        # There may be very many records, and none is garbage before it is delivered.
        PyObject_GC_UnTrack(record)
        return record


cdef int deliver(object records, list listeners, object handled) except -1:
    """Pass the records of a deque to all listeners, and remove them.

    `handled` is called with each record for which a listener returned a true value. If a listener
    raises, the other listeners still get that record; then the first error is raised, and later
    records remain for the next delivery.
    """
    popleft = records.popleft
    while records:
        record = popleft()
        if isinstance(record, JobRecord) and not PyObject_GC_IsTracked(record):
            PyObject_GC_Track(record)
        error = None
        is_handled = False
        for listener in tuple(listeners):
            try:
                if listener(record):
                    is_handled = True
            except BaseException as raised:
                error = error or raised
        if is_handled:
            handled(record)
        if error is not None:
            raise error
    return 0
