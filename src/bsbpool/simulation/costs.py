"""The CPU time of the steps of bsbpool, without that of the network."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from bsbpool.simulation.networks import LOCAL, Network

CACHED_WORKERS = 1024
"""Up to this number of workers, what main knows about them is in the caches."""


class Costs(NamedTuple):
    """The CPU time of each step, in seconds.

    Parameters
    ----------
    round : float
        A round of the main rank's loop.
    job_sent, job_done : float
        What the main rank does for a job: assign and encode it, and store its result.
    frame : float
        Writing or reading a frame: all jobs, or all replies, of a worker in a round.
    cold : float
        How much longer the main rank takes for a frame each time that the number of workers
        doubles, from 1,024 on: what it knows about a worker is no longer in the caches.
    message : float
        Sending or receiving a message, without the overhead of the network.
    worker_job : float
        What a worker does for a job besides its run time.
    scan : float
        Looking at one worker, when jobs that wait on workers are to be moved to idle ones.

    Notes
    -----
    The defaults were measured with ``bsbpool simulate --calibrate``; docs/scaling.md names the
    machine.
    """

    round: float = 0.011e-6
    job_sent: float = 0.047e-6
    job_done: float = 0.047e-6
    frame: float = 0.027e-6
    cold: float = 0.027e-6
    message: float = 0.12e-6
    worker_job: float = 0.085e-6
    scan: float = 3e-9

    def steps(self, workers: int) -> tuple[float, ...]:
        """Return the costs with that number of workers, in the order of `Simulator.set_costs`."""
        doublings = max(math.log2(workers / CACHED_WORKERS), 0.0)
        main_frame = self.frame + self.cold * doublings
        return (
            self.round, self.job_sent, self.job_done, self.frame, main_frame, self.message,
            self.worker_job, self.scan,
        )  # fmt: skip


class Calibration(NamedTuple):
    """What ``bsbpool simulate --calibrate`` measures.

    Parameters
    ----------
    costs : Costs
        The CPU time of the steps of bsbpool.
    local : Network
        Messages within a node.
    sleep : float
        The CPU time of a rank for going to sleep and being woken.
    """

    costs: Costs = Costs()
    local: Network = LOCAL
    sleep: float = 14e-6

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, for JSON."""
        return {
            "costs": self.costs._asdict(), "local": self.local._asdict(), "sleep": self.sleep
        }  # fmt: skip


def read_calibration(file: str) -> Calibration:
    """Read the JSON file that ``bsbpool simulate --calibrate`` has written.

    Raises
    ------
    ValueError
        If the file has other contents.
    """
    try:
        with open(file) as stream:
            found = json.load(stream)
        return Calibration(
            Costs(**{name: float(found["costs"][name]) for name in Costs._fields}),
            Network(**{name: float(found["local"][name]) for name in Network._fields}),
            float(found["sleep"]),
        )
    except FileNotFoundError:
        raise ValueError(
            f"costs: there is no file {file!r}; write it with `bsbpool simulate --calibrate "
            f"--output {file}`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"costs: the file {file!r} was not written by `bsbpool simulate --calibrate` "
            f"({error}); write it with --output {file}"
        ) from error
