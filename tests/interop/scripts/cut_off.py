"""Runs `bsbpool bsb` and cuts it off: ``cut_off.py kill|leave WRITES SECONDS ARGUMENTS OF BSB``.

When jobs of a rank have opened the HDF5 file for writing so many times, all ranks are killed after
so many seconds, or rank 0, which executes their pool, gets the signal by which a batch system asks
it to leave.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
from mpi4py import MPI

from bsbpool import current_job
from bsbpool.cli import main

sys.path.insert(0, str(Path(__file__).parents[2]))
from interop.launch import kill_session

action, writes, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
comm = MPI.COMM_WORLD
main_pid = comm.bcast(os.getpid())
runs_jobs = comm.Get_rank() > 0 or comm.Get_size() == 1
opened = h5py.File.__init__
n_left = writes


def kill() -> None:
    """Kill all ranks."""
    kill_session(os.getsid(0))
    os.kill(os.getpid(), signal.SIGKILL)


def open_file(self: Any, name: Any, mode: str = "r", *args: Any, **more: Any) -> None:
    """Open a file; count those that jobs open for writing."""
    global n_left
    opened(self, name, mode, *args, **more)
    if mode != "r" and current_job() is not None:
        n_left -= 1
        if n_left == 0 and action == "leave":
            os.kill(main_pid, signal.SIGTERM)
        elif n_left == 0:
            threading.Timer(seconds, kill).start()


if runs_jobs:
    h5py.File.__init__ = open_file
sys.exit(main(["bsb", *sys.argv[4:]]))
