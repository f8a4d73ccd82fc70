"""What all scripts here share: they play scenes on all ranks, and write down what they saw.

Start a script with the folder to write in and the pool to use, "bsbpool" or "bsb".
Import this module before anything of bsb. Each scene is a function that all ranks
call; what it returns is written to the report of the rank. The first error ends
all ranks, and a hang prints where each thread is before the time is over.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

folder = Path(sys.argv[1])
pool_name = sys.argv[2]

if pool_name == "bsbpool":
    from bsbpool.integrations import bsb as adapter

    adapter.install()

from mpi4py import MPI  # noqa: E402

comm = MPI.COMM_WORLD
rank, ranks = comm.Get_rank(), comm.Get_size()


def play(*scenes: Callable[[], Any]) -> None:
    """Play the scenes on all ranks, one after the other."""
    faulthandler.dump_traceback_later(max(float(os.environ.get("SECONDS_LEFT", "60")) - 5, 1))
    with (folder / f"rank{rank}.jsonl").open("w") as report:
        for scene in scenes:
            try:
                facts = scene()
                comm.Barrier()
            except BaseException:
                print(f"rank {rank}, scene {scene.__name__}:", file=sys.stderr)
                traceback.print_exc()
                sys.stderr.flush()
                time.sleep(2)  # others may have more to say
                comm.Abort(1)
            report.write(json.dumps([scene.__name__, facts], default=_plain) + "\n")
            report.flush()
    faulthandler.cancel_dump_traceback_later()


def on_all(value: Any) -> list[Any]:
    """Return what each rank passed, on all ranks."""
    return comm.allgather(value)


def error_of(call: Callable[[], Any]) -> dict[str, Any] | None:
    """Call something that should fail; return what is to be known of its error."""
    try:
        call()
    except BaseException as error:
        return facts_of(error)
    return None


def facts_of(error: BaseException | None) -> dict[str, Any] | None:
    """Describe an error: its classes, message, cause, the error it wraps and its members."""
    if error is None:
        return None
    return {
        "type": type(error).__name__,
        "kinds": [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__],
        "text": str(error),
        "cause": facts_of(error.__cause__),
        "notes": getattr(error, "__notes__", []),
        "error": facts_of(getattr(error, "error", None)),
        "members": [facts_of(member) for member in getattr(error, "exceptions", ())],
    }


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
