"""One rank alone; the test writes the frames of the other rank."""

from cluster import Cluster, Run

from bsbpool._core.protocol.frames import FrameWriter
from bsbpool._core.protocol.wire import RecordKind
from bsbpool._core.scheduling.status import Status

OK = 1
DONE, JOB, LEAVE, STOP = RecordKind.DONE, RecordKind.JOB, RecordKind.LEAVE, RecordKind.STOP
FUNCTION = (RecordKind.FUNCTION, 0, {"payload": b"echo"})
GO = (STOP, 0, {})


def echo(payload, buffers):
    return OK, bytes(payload), buffers


def job(number, payload=b""):
    return JOB, number, {"payload": payload}


def frame(run_id, *records):
    writer = FrameWriter()
    for kind, id, options in records:
        writer.add(kind, id, **options)
    return writer.to_bytes(run_id)


def worker_alone(n_runs=1):
    """Make a network and its rank 1 without starting it; return both."""
    ranks = Cluster(1, {"echo": echo}, runs=n_runs)
    return ranks.network, ranks.workers[0]


def main_alone(n_jobs=1):
    """Make a network and a run with jobs on rank 0; there is no rank 1."""
    ranks = Cluster(1, {"echo": echo}, runs=0)
    run = Run(ranks)
    for _ in range(n_jobs):
        run.submit("echo")
    return ranks.network, run


def answer_once(network, run, *frames):
    """Deliver frames from rank 1 as soon as job 0 runs."""
    waiting = list(frames)

    def inject():
        while waiting and run.engine.status(0) is Status.RUNNING:
            network.inject(1, 0, waiting.pop(0))

    run.callbacks.on_turn = inject
