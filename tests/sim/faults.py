"""Simulations with one injected fault each, which the checks must find."""

from dataclasses import replace

from sim.callbacks import MainCallbacks, WorkerCallbacks
from sim.plan import US
from sim.simulation import Simulation


class LostReply(Simulation):
    """A message to main is lost."""

    def __init__(self, plan):
        super().__init__(plan)
        self.tries = 200
        self.network.call_at(self.network.clock + 20 * US, self.lose_one)

    def lose_one(self):
        self.tries -= 1
        if not self.network.lose_message(0) and self.tries:
            self.network.call_at(self.network.clock + US, self.lose_one)


class EarlyDeathReport(Simulation):
    """A death is reported before the last messages of the rank have been received."""

    def __init__(self, plan):
        deaths = tuple(replace(death, n_delivered=-1, report_delay=0) for death in plan.deaths)
        super().__init__(replace(plan, deaths=deaths))
        self.network.inject_faults(reports_early=True)


class ReorderedMessages(Simulation):
    """Messages from one rank to another overtake each other."""

    def __init__(self, plan):
        super().__init__(plan)
        self.network.inject_faults(reorders=True)


class ErasedSlot(Simulation):
    """The shared memory does not keep which job a dead rank had begun."""

    def rank_died(self, rank):
        super().rank_died(rank)
        slot, data = self.slots_of_dead[rank]
        self.slots_of_dead[rank] = slot, bytes(len(data))


class DroppedStolenJobs(Simulation):
    """Jobs that were given back are not sent again."""

    class main_callbacks(MainCallbacks):
        def encode_job(self, number, worker):
            again = self.n_sent[number]
            return None if again else super().encode_job(number, worker)


class SwappedResults(Simulation):
    """Each result is stored for the previous job."""

    class main_callbacks(MainCallbacks):
        last = 0

        def store_reply(self, number, *reply):
            super().store_reply(number, *reply)
            if number in self.results:
                self.last, self.results[number] = self.results[number], self.last


class ReusedSendBuffer(Simulation):
    """Main overwrites arguments whose send is not complete."""

    class main_callbacks(MainCallbacks):
        def __init__(self, *args):
            super().__init__(*args)
            self.scratch = bytearray(1 << 16)

        def encode_job(self, number, worker):
            parcel = super().encode_job(number, worker)
            if parcel is None or not parcel[3]:
                return parcel
            size = parcel[3][0].nbytes
            self.scratch[:size] = parcel[3][0]
            return *parcel[:3], [memoryview(self.scratch)[:size]]


class UnloggedCancel(Simulation):
    """A job is cancelled without an entry in the log."""

    def job_begun(self, number, rank, job):
        super().job_begun(number, rank, job)
        if job == 1:
            self.histories[number].engine.cancel(job)


class JobRunTwice(Simulation):
    """A worker runs a job twice."""

    class worker_callbacks(WorkerCallbacks):
        def call(self, function, args):
            super().call(function, args)
            return super().call(function, args)


class IgnoredCacheNotices(Simulation):
    """A worker ignores which cache items are needed."""

    class worker_callbacks(WorkerCallbacks):
        def items_needed(self, tokens):
            self.loop.direct = False


class IgnoredInterrupts(Simulation):
    """Workers do not interrupt their jobs."""

    class worker_callbacks(WorkerCallbacks):
        def is_interrupted(self, job):
            return False


class InterruptedNextJob(Simulation):
    """The interrupt of a job is raised in the next one."""

    class worker_callbacks(WorkerCallbacks):
        due = False

        def is_interrupted(self, job):
            was_due, self.due = self.due, bool(super().is_interrupted(job))
            return was_due and not self.due


class DataDroppedTooEarly(Simulation):
    """Workers drop data that jobs still need."""

    class main_callbacks(MainCallbacks):
        def require_data(self, needed, worker):
            keys = super().require_data(needed, worker)
            for dep in needed:
                self.loop.data.drop(dep)
            return keys


FAULTS = [
    LostReply, EarlyDeathReport, ReorderedMessages, ErasedSlot, DroppedStolenJobs, SwappedResults,
    ReusedSendBuffer, UnloggedCancel, JobRunTwice, IgnoredCacheNotices,
    IgnoredInterrupts, InterruptedNextJob, DataDroppedTooEarly,
]  # fmt: skip
