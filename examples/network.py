"""Build a piece of cerebellar cortex with the Brain Scaffold Builder on a bsbpool job pool.

Run it on one or several ranks; the network is identical, cell by cell::

    python examples/network.py
    mpiexec -n 3 python examples/network.py

It needs bsb-core 8, bsb-hdf5 and matplotlib. The network itself is described in ``cerebellum.py``;
import that before you open the stored network with ``bsb.from_storage``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bsb import Scaffold


def ignore(event: Any) -> None:
    """Ignore an event; without any listener, the network prints a line per job."""


def build(
    size: str = "full",
    output: str | Path = "network",
    listener: Callable[[Any], None] = ignore,
) -> Scaffold:
    """Build the network and store it. Every rank calls this.

    Parameters
    ----------
    size : {"full", "small"}
        The size of the network: about 1,000 or 140 jobs.
    output : path
        The folder for ``network.hdf5``; an existing file is replaced.
    listener : callable
        Called with every event of the job pools.

    Returns
    -------
    bsb.Scaffold
        The complete network.
    """
    import cerebellum
    from bsb import MPI, Scaffold

    path = Path(output) / "network.hdf5"
    main = MPI.get_rank() == 0
    if main:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    MPI.barrier()
    scaffold = Scaffold(cerebellum.configuration(size, path))
    if main:
        for name, morphology in cerebellum.morphologies().items():
            scaffold.morphologies.save(name, morphology)
    MPI.barrier()
    scaffold.register_listener(listener, max_wait=0.5)
    scaffold.compile()
    return scaffold


def digests(scaffold: Scaffold) -> dict[str, str]:
    """Return digests of a network that do not depend on the order in which parts were stored.

    Parameters
    ----------
    scaffold : bsb.Scaffold
        The network; only the calling rank reads it.

    Returns
    -------
    dict of str to str
        A SHA-256 digest of the positions of each cell type and of the rows of each connectivity
        set (cell, branch and point on either side).
    """
    tables = {}
    with scaffold.storage.read_scope():
        for cells in scaffold.get_placement_sets():
            tables[cells.tag] = cells.load_positions().astype("<f8")
        for links in scaffold.get_connectivity_sets():
            rows = np.hstack(links.load_connections().as_globals().all())
            tables[links.tag] = rows.astype("<i8")
    return {
        name: hashlib.sha256(rows[np.lexsort(rows.T)].tobytes()).hexdigest()
        for name, rows in sorted(tables.items())
    }


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    option = parser.add_argument
    option("--output", type=Path, default=Path("network"), metavar="DIR", help="where to write")
    option("--pool", choices=("bsbpool", "bsb"), default="bsbpool", help="the job pool to use")
    option("--size", choices=("full", "small"), default="full", help="the size of the network")
    option("--digest", action="store_true", help="print a digest of each set")
    option("--quiet", action="store_true", help="no progress, table or picture")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Build the network, then print what was built and how long it took."""
    options = arguments(argv)
    # Silence the warnings of UCX about MPI windows that bsb leaves open.
    os.environ.setdefault("UCX_LOG_LEVEL", "error")
    if options.pool == "bsbpool":  # This line is all that a BSB user needs.
        from bsbpool.integrations import bsb as bsb_adapter

        bsb_adapter.install()

    import _report
    from bsb import MPI

    main_rank = MPI.get_rank() == 0
    shown = main_rank and not options.quiet
    progress = _report.Progress()
    with progress if shown else nullcontext():
        scaffold = build(options.size, options.output, progress.listen if shown else ignore)
    if shown:
        jobs, seconds = progress.done.total(), progress.seconds
        run = {"jobs": jobs, "seconds": round(seconds, 1), "jobs/s": round(jobs / seconds, 1)}
        print(_report.table(scaffold, run | {"ranks": MPI.get_size()}))
        picture = options.output / "network.png"
        _report.draw(scaffold, picture)
        print(f"\nBuilt by {options.pool}: {options.output / 'network.hdf5'} and {picture}")
    if options.digest and main_rank:
        for name, digest in digests(scaffold).items():
            print(digest, name)
    MPI.barrier()


if __name__ == "__main__":
    main()
