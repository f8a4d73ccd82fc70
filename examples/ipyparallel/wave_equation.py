"""The wave equation in two dimensions, on engines that exchange borders by MPI.

    mpiexec -n 4 python -m bsbpool.run examples/ipyparallel/wave_equation.py

The program also runs with ``import ipyparallel as ipp``. Each engine has a slab of the grid and
keeps it from one task to the next. The engines run each step at the same time, and send the rows
at the borders of their slabs to each other with mpi4py. The client scatters the grid, starts the
steps and gathers the result.
"""

import numpy as np

import bsbpool.integrations.ipyparallel as ipp

POINTS, STEPS = 96, 120
COURANT = 0.5
"""Speed of the wave times the time step, divided by the distance of grid points."""


def connect(n_engines):
    """Create a communicator of the engines, which are the last ranks of the world."""
    global comm
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    ranks = range(world.size - n_engines, world.size)
    comm = world.Create_group(world.group.Incl(ranks))
    return comm.rank


def set_up(slab):
    """Add the rows that are copies of those of adjacent engines."""
    global now, before
    import numpy as np

    now = np.zeros((slab.shape[0] + 2, slab.shape[1]))
    now[1:-1] = slab
    before = now.copy()


def exchange(grid):
    """Copy the rows at the borders from the adjacent engines."""
    from mpi4py import MPI

    above = comm.rank - 1 if comm.rank else MPI.PROC_NULL
    below = comm.rank + 1 if comm.rank + 1 < comm.size else MPI.PROC_NULL
    comm.Sendrecv(grid[1], above, recvbuf=grid[-1], source=below)
    comm.Sendrecv(grid[-2], below, recvbuf=grid[0], source=above)


def advance(steps, courant):
    """Compute some time steps; return the sum of the squares of all points."""
    global now, before
    import numpy as np
    from mpi4py import MPI

    for _ in range(steps):
        exchange(now)
        after = now.copy()
        middle = now[1:-1, 1:-1]
        curvature = now[:-2, 1:-1] + now[2:, 1:-1] + now[1:-1, :-2] + now[1:-1, 2:] - 4 * middle
        after[1:-1, 1:-1] = 2 * middle - before[1:-1, 1:-1] + courant**2 * curvature
        if comm.rank == 0:
            after[1] = 0  # the edge of the grid
        if comm.rank == comm.size - 1:
            after[-2] = 0
        before, now = now, after
    return comm.allreduce(float(np.square(now[1:-1]).sum()), MPI.SUM)


def initial():
    """Return a bump that is zero at the edges."""
    x = np.linspace(0, 1, POINTS)
    bump = np.exp(-80 * ((x[:, None] - 0.4) ** 2 + (x[None, :] - 0.5) ** 2))
    bump[[0, -1]] = bump[:, [0, -1]] = 0
    return bump


def main():
    with ipp.Cluster(engines="mpi", n=3) as rc:
        view = rc[:]
        # Where the ranks of the engines have another order, so has the view.
        ranks = view.apply_sync(connect, len(view))
        view = rc[[engine for _, engine in sorted(zip(ranks, view.targets, strict=True))]]
        view.push({"exchange": exchange}, block=True)
        view.scatter("slab", initial(), block=True)
        view.apply_sync(set_up, ipp.Reference("slab"))
        for step in range(0, STEPS, STEPS // 4):
            total, *_ = view.apply_sync(advance, STEPS // 4, COURANT)
            print(f"after {step + STEPS // 4:3} steps: sum of squares {total:.6f}")
        view.execute("inner = now[1:-1]", block=True)
        grid = view.gather("inner", block=True)
        view.execute("comm.Free()", block=True)
    print(f"grid {grid.shape}, lowest {grid.min():.6f}, highest {grid.max():.6f}")


if __name__ == "__main__":
    main()
