"""A program for `MPIExecutor` and `MPIPool`, of mpipool ("theirs") or of bsbpool ("ours")."""

import itertools
import sys

if sys.argv[1] == "ours":
    from bsbpool.integrations.mpipool import MPIExecutor, MPIPool, WorkerExitSuiteSignal
else:
    from mpipool import MPIExecutor, MPIPool, WorkerExitSuiteSignal


def failing(x):
    if x == 3:
        raise LookupError("three")
    return x


def tell(scene, *values):
    sys.stdout.write(" ".join(map(str, (scene, *values))) + "\n")  # whole, among other ranks'


def executing(pool):
    tell("size", pool.size, pool.open, pool.is_main(), pool.is_worker(), pool.idling)
    tell("submit", pool.submit(pow, 2, 5).result(), pool.submit(int, "11", base=2).result())
    factor = 3
    tell("lambda", pool.submit(lambda x: factor * x, 5).result())
    tell("map", list(pool.map(pow, range(20), itertools.repeat(2))))
    if "endless" in sys.argv:  # mpipool would go on with it
        endless = pool.map(abs, itertools.count())
        tell("endless", [next(endless) for _ in range(5)])
        endless.close()
    tell("error", repr(pool.submit(failing, 3).exception()))
    batch = pool.submit_batch(failing, [1, 2, 4, 5, 6, 7])
    tell("batch", batch.result(), batch.submitted, batch.finished)
    batch = pool.submit_batch(pow, range(12), range(12))
    tell("ordered", [future.result() for future in batch.ordered])
    tell("iterated", sorted(future.result() for future in pool.submit_batch(abs, range(9))))
    tell("futures", sorted(future.id for future in pool.submit_batch(abs, range(9)).futures))
    done, rest = batch.wait()
    tell("waited", len(done), len(rest))
    tell("empty", pool.submit_batch(abs, []).result())
    kinds = [type(future.exception()).__name__ for future in pool.submit_batch(failing, [1, 3])]
    tell("failed", sorted(kinds))


def pooling(pool):
    tell("apply", pool.apply(pow, (2, 3)), pool.apply_async(pow, (2, 4)).get(10))
    tell("pool map", pool.map(abs, range(-5, 0)), pool.map_async(abs, [-1, -2]).get())
    tell("star", pool.starmap(pow, [(2, 3), (3, 2)]), pool.starmap_async(pow, [(2, 2)]).get())
    tell("imap", list(pool.imap(abs, range(-5, 0))), sorted(pool.imap_unordered(abs, [-2, -1])))
    one = pool.apply_async(failing, (3,))
    try:
        one.get()
    except LookupError as error:
        tell("raised", repr(error), one.ready(), one.succesful())


def main():
    with MPIExecutor(loglevel=50) as pool:
        pool.workers_exit()
        executing(pool)
    tell("all ranks")
    try:
        pool.workers_exit()
    except WorkerExitSuiteSignal:
        tell("a worker")
    with MPIPool() as pool:
        pool.workers_exit()
        pooling(pool)
    # Without a block: workers come back from the constructor when all is over.
    pool = MPIExecutor()
    if pool.is_main():
        tell("again", pool.submit(abs, -1).result())
        pool.shutdown()
    tell("open", pool.open)
    last = MPIExecutor(rejoin=False)
    tell("rejoined", last.submit(abs, -1).result())  # and left for the end of the program


if __name__ == "__main__":
    main()
