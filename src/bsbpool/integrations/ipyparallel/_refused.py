"""What clients of ipyparallel can do, and MPI does not offer."""

from __future__ import annotations

REFUSED = {
    "become_dask": ("start Dask on its engines", "use dask.distributed with dask-mpi"),
    "stop_dask": ("start Dask on its engines", "use dask.distributed with dask-mpi"),
    "send_signal": (
        "send signals to engines",
        "cancel running tasks with abort(jobs, running=True)",
    ),
    "resubmit": ("submit tasks again by their ids", "call the function again, or use retries"),
    "hub_history": ("see tasks of other programs", "use client.history"),
    "db_query": ("query a database of tasks", "use the metadata of AsyncResults"),
    "purge_hub_results": ("forget results in a database", "use purge_results()"),
}


def refuse(wanted: str, instead: str) -> None:
    raise NotImplementedError(f"On MPI, a client cannot {wanted}; {instead}")
