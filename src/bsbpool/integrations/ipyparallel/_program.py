"""The engines of the program: those of the innermost cluster, or the workers."""

from __future__ import annotations

import atexit

from bsbpool.futures import PoolExecutor
from bsbpool.integrations.ipyparallel import error
from bsbpool.integrations.ipyparallel._engines import Engines
from bsbpool.process import running

open_engines: list[Engines] = []
"""The engines of clusters and of the program, the last one first used."""
warned: list[str] = []
"""The arguments of which a warning has said that they are ignored."""


def engines_of_program() -> Engines:
    """Return the engines of the innermost cluster, or the workers of the program.

    Raises
    ------
    NoEnginesRegistered
        If the program has none.
    """
    if open_engines:
        return open_engines[-1]
    if not running.workers_dedicated:
        raise error.NoEnginesRegistered(
            "There are no engines. Start the program with `mpiexec -n 4 python -m bsbpool.run "
            "script.py` for three engines, or use `with Cluster(n=3) as client:`"
        )
    executor = PoolExecutor(prefetch=False)
    engines = Engines(executor)
    open_engines.append(engines)
    atexit.register(_close, engines)
    return engines


def _close(engines: Engines) -> None:
    if engines in open_engines:
        open_engines.remove(engines)
    engines.executor.shutdown(wait=True)
