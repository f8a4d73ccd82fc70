"""The messages of the main rank about jobs that run on several workers at one time.

Each member gets a GANG record, which names the ranks and the number of their communicator, and a
GANG_JOB record. It makes the communicator when it reads the first, so before anything that may fail
on one member only. Members keep it for later jobs of the same ranks. The main rank decides which
ones they keep: a worker has at most MAX_COMMUNICATORS, and GANG_FREE frees that which was used
least recently, on all of its ranks, in the same order.
"""
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.invoke cimport CANCEL_INTERRUPT
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameReader, FrameWriter
from bsbpool._core.protocol.wire cimport (
    GANG,
    GANG_DISCARD,
    GANG_FREE,
    GANG_JOB,
    OUTCOME_BITS,
    SECONDARY,
    timing_run_ns,
)
from bsbpool._core.runtime.job_sender cimport JobSender
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.reply_reader cimport ReplyReader
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.gang_tables cimport gang_t
from bsbpool._core.scheduling.gangs cimport gang_give_up, gang_has, gang_member_done, gang_of
from bsbpool._core.scheduling.status cimport (
    CANCELLED,
    FAILED,
    RUNNING,
    SUCCESS,
    status_is_terminal,
)
from libc.stdint cimport int32_t, int64_t, uint8_t

import array

from bsbpool._core.protocol.frames import MalformedFrameError

cdef enum:
    MAX_COMMUNICATORS = 8  # of each worker
    GRACE_NS = 2_000_000_000  # how long members may take to leave a job that has failed

cdef uint8_t[4] OUTCOMES = [FAILED, SUCCESS, CANCELLED, RUNNING]


cdef class Communicators:
    """Which communicators the workers have, and which are freed when there are too many."""

    def __init__(self):
        self.serials, self.members, self.of_worker = {}, {}, {}

    cpdef tuple use(self, tuple members):
        """Return the number of the communicator of some workers, and those to free before."""
        cdef list freed = []
        serial = self.serials.get(members)
        if serial is None:
            for worker in members:
                known = self.of_worker.setdefault(worker, [])
                while len(known) >= MAX_COMMUNICATORS:
                    freed.append((known[0], self.members[known[0]]))
                    self.remove(known[0])
            self.last += 1
            serial = self.last
            self.serials[members] = serial
            self.members[serial] = members
        for worker in members:
            known = self.of_worker[worker]
            if serial in known:
                known.remove(serial)
            known.append(serial)
        return serial, freed

    cpdef int remove(self, serial) except -1:
        members = self.members.pop(serial, None)
        if members is not None:
            del self.serials[members]
            for worker in members:
                self.of_worker[worker].remove(serial)
        return 0


cdef class RunningGang:
    """A job that runs on several workers."""


cdef class GangMessages:
    """Sends jobs to several workers, and reads their replies.

    Parameters
    ----------
    sender : JobSender
        Sends functions.
    replies : ReplyReader
        Stores results.
    reader : FrameReader
        The messages of workers.
    outbox : Outbox
        The messages to workers.
    jobs : Submitter or None
        The pool.
    callbacks : LoopCallbacks
        Pickle jobs, store errors and results.
    """

    def __init__(
        self, Engine engine not None, JobSender sender not None, ReplyReader replies not None,
        FrameReader reader not None, Outbox outbox not None, Submitter jobs, callbacks,
    ):
        self.engine = engine
        self.sender, self.replies, self.reader, self.outbox = sender, replies, reader, outbox
        self.jobs, self.callbacks = jobs, callbacks
        self.communicators = Communicators()
        self.running, self.failing = {}, {}

    # Sending

    cdef int send(self, int64_t job) except -1:
        """Add a job to the next messages of the members of its gang."""
        cdef gang_t *gang = gang_of(&self.engine.d, <int32_t>job)
        cdef RunningGang made = RunningGang()
        cdef bint differs = self.jobs is None or (<Handle>self.jobs.job_list[job]).has_inputs
        cdef list encoded = []
        made.members = tuple([gang.members.data[i] for i in range(gang.members.size)])
        if not status_is_terminal(self.engine.d.jobs[job].status):
            made.gathers = bool(
                self.callbacks.gang_started(job, tuple([m + 1 for m in made.members]))
            )
            for worker in made.members:
                if differs or not encoded:
                    pickled = self.callbacks.encode_job(job, worker)
                    self.sender.functions.drop_evicted()
                    if pickled is None:
                        self.sender.encoding_failed = True
                        return self.undo(job, FAILED)
                    encoded.append(pickled)
                else:
                    encoded.append(encoded[0])
        # Pickling may have taken long.
        if status_is_terminal(self.engine.d.jobs[job].status):
            return self.undo(job, CANCELLED)
        made.parts = [None] * len(made.members)
        self.running[job] = made
        return self.put(job, made, encoded)

    cdef int put(self, int64_t job, RunningGang gang, list encoded) except -1:
        cdef FrameWriter writer
        cdef bytes ranks = array.array("Q", [m + 1 for m in gang.members]).tobytes()
        gang.serial, freed = self.communicators.use(gang.members)
        for serial, members in freed:
            self.put_free(serial, members, 0)
        for worker, (function, flags, payload, buffers) in zip(gang.members, encoded):
            self.sender.functions.ensure(worker, function)
            self.sender.cache_notices.put(worker)
            self.outbox.begin_busy(worker, &self.engine.d.workers.slots[<int>worker])
            writer = self.outbox.writer(worker)
            writer.put(GANG, job, gang.serial, 0, 0, ranks, ())
            writer.put(GANG_JOB, job, function, flags, 0, payload, buffers)
            # Not sent yet: if an error ends the run now, no member must wait for the others.
        return self.sender.note_sent(
            job, len(encoded[0][2]) + sum([buffer.nbytes for buffer in encoded[0][3]])
        )

    cdef int undo(self, int64_t job, uint8_t outcome) except -1:
        """Take a job from its workers that was not sent to them."""
        cdef gang_t *gang = gang_of(&self.engine.d, <int32_t>job)
        for worker in [gang.members.data[i] for i in range(gang.members.size)]:
            gang_member_done(&self.engine.d, worker, <int32_t>job, outcome, False, False)
        self.engine.raise_fault()
        return 0

    cdef int put_free(self, serial, tuple members, uint8_t flags) except -1:
        """Let workers free a communicator, or not use it any more."""
        for worker in members:
            if not self.engine.d.workers.slots[<int>worker].lost:
                self.outbox.writer(worker).put(GANG_FREE, 0, serial, flags, 0, None, ())
        return 0

    # Replies

    cdef bint read(self, int worker) except -1:
        """Read the reply of a member; return whether it has failed."""
        cdef FrameReader r = self.reader
        cdef int64_t job = r.record.id
        cdef RunningGang made
        cdef gang_t *gang
        cdef uint8_t outcome
        cdef bint retries = False
        cdef int64_t started
        self.engine.check_job(job)
        if not gang_has(&self.engine.d, worker, <int32_t>job) or job not in self.running:
            raise MalformedFrameError(f"A message ends job {job}, which rank {worker + 1} has not")
        gang = gang_of(&self.engine.d, <int32_t>job)
        outcome = OUTCOMES[r.record.flags & OUTCOME_BITS]
        made = self.running[job]
        if outcome == FAILED and gang.outcome == SUCCESS:
            error = r.payload(), r.buffers(), timing_run_ns(r.record.extra) * 1e-9
            if r.record.flags & SECONDARY and gang.n_left > 1:
                # The other member reports the error, or its death is noticed.
                made.secondary = made.secondary or error
                made.discards = True
                outcome = SUCCESS
            else:
                retries = bool(self.callbacks.store_reply(job, 0, *error))
        elif outcome == SUCCESS and gang.outcome == SUCCESS and made.secondary is not None:
            if gang.n_left == 1:  # no member has another error
                outcome = FAILED
                retries = bool(self.callbacks.store_reply(job, 0, *made.secondary))
        elif outcome == SUCCESS and gang.outcome == SUCCESS:
            outcome = self.store(worker, job, gang)
        self.engine.d.workers.slots[worker].n_done += outcome != CANCELLED
        self.engine.d.workers.slots[worker].busy_ns += timing_run_ns(r.record.extra)
        started = self.replies.read_start()
        if worker == gang.members.data[0] and self.jobs is not None and self.jobs.times != NULL:
            self.replies.note_times(worker, started)
        if outcome != SUCCESS:
            made.discards = True
            if gang.outcome == SUCCESS:
                self.fail_others(worker, job, b"rank %d, which took part, has failed")
        gang_member_done(&self.engine.d, worker, <int32_t>job, outcome, retries, False)
        self.engine.raise_fault()
        self.forget_ended(job)
        return outcome != SUCCESS

    cdef uint8_t store(self, int worker, int64_t job, gang_t *gang) except? 255:
        """Store the result of a member; return FAILED if it cannot be unpickled."""
        cdef FrameReader r = self.reader
        cdef RunningGang made = self.running[job]
        cdef int64_t n_left = gang.n_left  # the callbacks may end the gang of a cancelled job
        if status_is_terminal(self.engine.d.jobs[job].status):
            return SUCCESS
        if made.gathers:
            made.parts[made.members.index(worker)] = r.record.flags, r.payload(), r.buffers()
            if n_left == 1 and not self.callbacks.store_gathered(job, made.parts):
                return FAILED
        elif worker == made.members[0]:
            if self.jobs is not None:
                return SUCCESS if self.replies.store() else FAILED
            self.callbacks.store_reply(
                job, r.record.flags & 0x7F, r.payload(), r.buffers(),
                timing_run_ns(r.record.extra) * 1e-9,
            )
        return SUCCESS

    # Failures

    cdef bint interrupt(self, int64_t job, kind, bytes reason) except -1:
        """Interrupt the members of a job; return False if it runs on one worker."""
        cdef gang_t *gang = gang_of(&self.engine.d, <int32_t>job)
        if gang == NULL:
            return False
        for worker in [gang.members.data[i] for i in range(gang.members.size)]:
            if gang_has(&self.engine.d, worker, <int32_t>job):
                self.outbox.put_interrupt(worker, job, kind, reason)
        return True

    cdef int fail_others(self, int worker, int64_t job, bytes reason) except -1:
        """A member has failed or died: interrupt the others."""
        cdef gang_t *gang = gang_of(&self.engine.d, <int32_t>job)
        if gang.n_left > 1:
            self.failing[job] = self.outbox.channel.now() + GRACE_NS
            for other in [gang.members.data[i] for i in range(gang.members.size)]:
                if other != worker and gang_has(&self.engine.d, other, <int32_t>job):
                    self.outbox.put_interrupt(
                        other, job, CANCEL_INTERRUPT, reason % (worker + 1)
                    )
        return 0

    cdef bint is_failing(self, int worker) noexcept:
        """Whether a worker is in a job that another member has failed."""
        cdef int32_t job = self.engine.d.workers.slots[worker].first
        cdef gang_t *gang
        if job < 0:
            return False
        gang = gang_of(&self.engine.d, job)
        return gang != NULL and gang.outcome != SUCCESS

    cdef int64_t begin_loss(self, int worker) except -2:
        """A worker has died: return its job that runs on several workers, or -1."""
        cdef int64_t job = self.engine.d.workers.slots[worker].first
        if job < 0 or not gang_has(&self.engine.d, worker, <int32_t>job):
            return -1
        if not self.is_failing(worker):
            self.fail_others(worker, job, b"rank %d, which took part, has died")
        if job in self.running:
            (<RunningGang>self.running[job]).discards = True
        return job

    cdef int end_loss(self, int worker, int64_t job) except -1:
        """The tables know that a worker has died: no other member uses its communicators."""
        if job >= 0:
            self.forget_ended(job)
        for serial in list(self.communicators.of_worker.get(worker, ())):
            members = self.communicators.members[serial]
            self.communicators.remove(serial)
            self.put_free(serial, members, GANG_DISCARD)
        return 0

    def check(self):
        """Give up the members that do not leave a failed job; return the seconds to the next one.

        Their jobs end. They get no others until they have reported the end.
        """
        cdef int64_t now = self.outbox.channel.now()
        cdef gang_t *gang
        for job in [job for job, until in self.failing.items() if until <= now]:
            del self.failing[job]
            gang = gang_of(&self.engine.d, job)
            members = [gang.members.data[i] for i in range(gang.members.size)]
            left = [m + 1 for m in members if gang_has(&self.engine.d, m, job)]
            self.callbacks.gang_stuck(job, left, bool(gang.retries))
            gang_give_up(&self.engine.d, job)
            self.engine.raise_fault()
        return max(min(self.failing.values(), default=now + GRACE_NS) - now, 0) * 1e-9

    cdef int forget_ended(self, int64_t job) except -1:
        """Forget a job that all members have left; if it has failed, also its communicator."""
        cdef RunningGang made
        if gang_of(&self.engine.d, <int32_t>job) == NULL and job in self.running:
            made = self.running.pop(job)
            self.failing.pop(job, None)
            if made.discards and made.serial in self.communicators.members:
                self.communicators.remove(made.serial)
                self.put_free(made.serial, made.members, GANG_DISCARD)
        return 0
