"""Where the engines of a program come from."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from bsbpool import services
from bsbpool.futures import PoolExecutor
from bsbpool.integrations.ipyparallel._engines import Engines
from bsbpool.integrations.ipyparallel._program import open_engines
from bsbpool.integrations.ipyparallel._tasks import wait_for_tasks
from bsbpool.integrations.ipyparallel.client import Client
from bsbpool.process import running


class Cluster:
    """Engines for a part of a program.

    In a program of one process, MPI starts `n` further processes. Under
    ``python -m bsbpool.run`` the engines are workers of the program. In a program of which all
    ranks run the script, all ranks enter the ``with`` block; on rank 0 it gives the client, on the
    others None after the engines have ended.

    Parameters
    ----------
    n : int, optional
        The number of engines; by default all workers, or as many as cores.
    comm : mpi4py.MPI.Intracomm, optional
        The communicator of a program of which all ranks run the script.
    engines, controller, profile, cluster_id : object, optional
        Accepted for programs that were written for ipyparallel, and ignored.
    **ignored
        Also ignored.

    Examples
    --------
    ::

        with Cluster(n=3) as rc:
            print(rc[:].apply_sync(os.getpid))
    """

    def __init__(
        self,
        *,
        n: int | None = None,
        comm: Any = None,
        engines: Any = None,
        controller: Any = None,
        profile: str = "",
        cluster_id: str = "",
        **ignored: Any,
    ) -> None:
        if n is not None and (not isinstance(n, int) or n < 1):
            raise ValueError(f"n must be a positive number of engines, got {n!r}")
        self.n, self.profile, self.cluster_id = n, profile, cluster_id
        self._comm = comm
        self._executor: PoolExecutor | None = None
        self._engines: Engines | None = None

    def __repr__(self) -> str:
        state = "stopped" if self._engines is None else f"{len(self._engines.ids)} engines"
        return f"<{type(self).__name__}({state})>"

    def _start(self, n: int | None) -> bool:
        """Start the engines; return False on a rank that was one of them."""
        if self._engines is not None:
            raise RuntimeError("The cluster is running; stop it first")
        n = self.n if n is None else n
        others = services.MPI.get_size() > 1 and not running.workers_dedicated
        if n is None and not others and not running.workers_dedicated:
            n = _n_cores()
        if (shared := self._engines_in_use(n)) is not None:
            self._engines = shared
            return True
        self._executor = PoolExecutor(self._comm, max_workers=n, prefetch=False)
        if self._executor.__enter__() is None:
            self._executor.__exit__(None, None, None)
            return False
        self._engines = Engines(self._executor)
        open_engines.append(self._engines)
        return True

    def _engines_in_use(self, n: int | None) -> Engines | None:
        """Return the engines that a client of the program has opened, if there are any.

        Raises
        ------
        RuntimeError
            If there are more than `n`.
        """
        if not running.workers_dedicated or self._comm is not None or not open_engines:
            return None
        engines = open_engines[-1]
        if n is not None and n < len(engines.ids):
            raise RuntimeError(
                f"Cluster(n={n}) cannot use a part of the {len(engines.ids)} engines that a client "
                "of the program uses already; use Cluster() and a view of some of them"
            )
        return engines

    # ------------------------------------------------------------ as of ipyparallel

    def start_cluster_sync(self, n: int | None = None) -> None:
        """Start the engines."""
        self._start(n)

    def connect_client_sync(self, **ignored: Any) -> Client:
        """Return a client of the engines."""
        if self._engines is None:
            raise RuntimeError("The cluster is not running; call start_cluster_sync() first")
        return Client(engines=self._engines)

    def start_and_connect_sync(self, n: int | None = None, activate: bool = False) -> Client:
        """Start the engines; return a client."""
        self._start(n)
        client = self.connect_client_sync()
        if activate:
            client.activate()
        return client

    def stop_cluster_sync(self) -> None:
        """Wait for the tasks and stop the engines."""
        self._stop(None, None, None)

    def _stop(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the engines: after an error, without waiting for tasks that have not begun."""
        engines, self._engines = self._engines, None
        executor, self._executor = self._executor, None
        if engines is None or executor is None:
            return
        if engines in open_engines:
            open_engines.remove(engines)
        if raised is None:
            wait_for_tasks(engines.outstanding(), None)
        else:
            engines.abort(engines.outstanding())
        executor.__exit__(kind, raised, traceback)

    def __enter__(self) -> Client | None:
        return self.connect_client_sync() if self._start(None) else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop(kind, raised, traceback)


def _n_cores() -> int:
    import os

    return max(os.cpu_count() or 1, 2)
