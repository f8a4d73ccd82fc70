"""A program for `MPICommExecutor`, of mpi4py.futures ("theirs") or of bsbpool ("ours")."""

import operator
import sys

from mpi4py import MPI

if sys.argv[1] == "ours":
    import bsbpool.integrations.mpi4py_futures as futures
else:
    from mpi4py import futures

ground = 0


def lay_ground(value, more):
    global ground
    ground = value + more


def above(x):
    return ground + x


def failing(x):
    if x == 3:
        raise LookupError("three")
    return x


def worker_size():
    return futures.get_comm_workers().Get_size()


def tell(scene, *values):
    sys.stdout.write(" ".join(map(str, (scene, *values))) + "\n")  # whole, among other ranks'


def mapping(executor):
    tell("map", list(executor.map(operator.neg, range(50))))
    tell("two", list(executor.map(pow, [2, 3, 4], [5, 2, 1])))
    tell("chunks", list(executor.map(operator.neg, range(50), chunksize=7)))
    tell("bounded", list(executor.map(operator.neg, iter(range(50)), buffersize=5)))
    tell("unordered", sorted(executor.map(operator.neg, range(50), unordered=True)))
    tell("star", list(executor.starmap(pow, [(2, 5), (3, 2)], chunksize=2)))
    for wrong in ({"chunksize": 0}, {"buffersize": 0}):
        try:
            executor.map(abs, [1], **wrong)
        except ValueError as error:
            tell("refused", *wrong, type(error).__name__)
    results, got = executor.map(failing, range(6)), []
    try:
        got.extend(results)
    except LookupError as error:
        tell("failing", got, repr(error))


def submitting(executor):
    parts = [executor.submit(pow, n, 2) for n in range(8)]
    done, rest = futures.wait(parts)
    tell("wait", sorted(part.result() for part in done), len(rest))
    tell("as_completed", sorted(part.result() for part in futures.as_completed(parts)))
    tell("collect", futures.collect(parts).result())
    tell("empty", futures.collect([]).result())
    tell("compose", futures.compose(parts[3], str).result() + "!")
    broken = executor.submit(failing, 3)
    tell("error", type(broken.exception()).__name__, broken.exception().args)
    tell("collected", type(futures.collect([*parts, broken]).exception()).__name__)
    tell("excused", futures.compose(broken, excepthook=lambda error: error.args).result())
    tell("changed", futures.compose(broken, excepthook=lambda _: OSError(1)).exception().args)
    heard = []
    parts[1].add_done_callback(lambda part: heard.append(part.result()))
    tell("callback", heard, isinstance(parts[1], futures.Future))
    tell("unpicklable", type(executor.submit(len, (n for n in "x")).exception()).__name__)


def main():
    for root in (0, MPI.COMM_WORLD.Get_size() - 1):
        with futures.MPICommExecutor(root=root) as executor:
            if executor is not None:
                tell("open", executor.num_workers, executor.bootup() is executor)
                tell("workers", executor.submit(worker_size).result())
                mapping(executor)
                submitting(executor)
        if executor is not None:
            tell("closed", executor.num_workers)
            try:
                executor.submit(abs, 1)
            except RuntimeError:
                tell("late")
    options = {"max_workers": 1, "initializer": lay_ground, "initargs": (40, 2)}
    again = futures.MPICommExecutor(**options, path=["/nowhere"], use_pkl5=True)
    for _ in range(2):
        with again as executor:
            # A worker has None here, and what comes of that is forgotten.
            tell("initialized", executor.submit(above, 1).result())
    try:
        futures.MPICommExecutor(root=1000)
    except ValueError:
        if executor is not None:
            tell("no such root")


if __name__ == "__main__":
    main()
