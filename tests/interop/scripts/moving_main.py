"""A program for `MPIPoolExecutor`, of mpi4py.futures ("theirs") or of bsbpool ("ours").

It is started by ``python -m mpi4py.futures`` or by ``python -m bsbpool.run``.
"""

import os
import sys
from collections import namedtuple

if sys.argv[1] == "ours":
    from bsbpool.integrations.mpi4py_futures import MPIPoolExecutor, as_completed
else:
    from mpi4py.futures import MPIPoolExecutor, as_completed

Point = namedtuple("Point", "x y")


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, point):
        return Point(point.x * self.by, point.y * self.by)


def job_contexts(_):
    return os.environ.get("MOVING"), os.getcwd(), sys.path[-1]


def main():
    with MPIPoolExecutor(env={"MOVING": "yes"}, wdir="/", path=["/nowhere"]) as executor:
        print("workers", executor.num_workers)
        print("around", *set(executor.map(job_contexts, range(20))))
        print("own", os.environ.get("MOVING"), os.getcwd() == "/", sys.path[-1] == "/nowhere")
        points = [Point(n, -n) for n in range(10)]
        print("classes", list(executor.map(Scale(3), points)))
        parts = [executor.submit(Scale(2), point) for point in points]
        print("submitted", sorted(part.result() for part in as_completed(parts)))
    second = MPIPoolExecutor("1")
    print("second", second.submit(pow, 2, 10).result())
    second.shutdown()
    try:
        second.submit(abs, 1)
    except RuntimeError:
        print("late")
    for wrong in (0, -1):
        try:
            MPIPoolExecutor(max_workers=wrong)
        except ValueError:
            print("refused", wrong)


if __name__ == "__main__":
    main()
