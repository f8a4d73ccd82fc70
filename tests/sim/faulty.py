"""Worlds with one thing wrong, which the simulation must find."""

from dataclasses import replace

from sim.callbacks import MainCallbacks, WorkerCallbacks
from sim.plan import US
from sim.world import World


class LosesReply(World):
    """A message to main does not arrive."""

    def __init__(self, plan):
        super().__init__(plan)
        self.tries = 200
        self.network.at(self.network.clock + 20 * US, self.lose_one)

    def lose_one(self):
        self.tries -= 1
        if not self.network.discard(0) and self.tries:
            self.network.at(self.network.clock + US, self.lose_one)


class TellsTooEarly(World):
    """A death is told before the last messages of who died."""

    def __init__(self, plan):
        deaths = tuple(replace(death, keep=-1, told_after=0) for death in plan.deaths)
        super().__init__(replace(plan, deaths=deaths))
        self.network.sabotage(hasty=True)


class MixesMessages(World):
    """Messages between two ranks overtake each other."""

    def __init__(self, plan):
        super().__init__(plan)
        self.network.sabotage(disorder=True)


class WipesNotes(World):
    """What a dead rank had begun is forgotten."""

    def died(self, rank):
        super().died(rank)
        slot, data = self.kept[rank]
        self.kept[rank] = slot, bytes(len(data))


class ForgetsReturned(World):
    """Jobs that come back to main are dropped."""

    class main_callbacks(MainCallbacks):
        def encode_job(self, number):
            again = self.n_sent[number]
            return None if again else super().encode_job(number)


class MixesResults(World):
    """Each result is kept under the job that came before."""

    class main_callbacks(MainCallbacks):
        last = 0

        def store_reply(self, number, *reply):
            super().store_reply(number, *reply)
            if number in self.results:
                self.last, self.results[number] = self.results[number], self.last


class ReusesMemory(World):
    """Main writes over arguments that have not left yet."""

    class main_callbacks(MainCallbacks):
        def __init__(self, *args):
            super().__init__(*args)
            self.scratch = bytearray(1 << 16)

        def encode_job(self, number):
            parcel = super().encode_job(number)
            if parcel is None or not parcel[3]:
                return parcel
            size = parcel[3][0].nbytes
            self.scratch[:size] = parcel[3][0]
            return *parcel[:3], [memoryview(self.scratch)[:size]]


class CancelsInSecret(World):
    """A job is cancelled that nobody wanted cancelled."""

    def begin(self, number, rank, job):
        super().begin(number, rank, job)
        if job == 1:
            self.ledgers[number].engine.cancel(job)


class RunsTwice(World):
    """A worker runs a job again."""

    class worker_callbacks(WorkerCallbacks):
        def call(self, function, args):
            super().call(function, args)
            return super().call(function, args)


class DeafToItems(World):
    """A worker does not hear which items are needed."""

    class worker_callbacks(WorkerCallbacks):
        def items_needed(self, tokens):
            self.loop.direct = False


FAULTY = [
    LosesReply, TellsTooEarly, MixesMessages, WipesNotes, ForgetsReturned, MixesResults,
    ReusesMemory, CancelsInSecret, RunsTwice, DeafToItems,
]  # fmt: skip
