"""A program for the `MPIPool` of schwimmbad ("theirs") or of bsbpool ("ours")."""

import sys

if sys.argv[1] == "ours":
    from bsbpool.integrations.schwimmbad import MPIPool, choose_pool
else:
    from schwimmbad import MPIPool, choose_pool


class Likelihood:
    def __init__(self, sigma):
        self.sigma = sigma

    def __call__(self, x):
        return -0.5 * (x / self.sigma) ** 2


def summed(part):
    (first, end), values = part
    return first, end, sum(values)


def tell(scene, *values):
    sys.stdout.write(" ".join(map(str, (scene, *values))) + "\n")  # whole, among other ranks'


def main():
    with choose_pool(mpi=False) as pool:
        serial = list(pool.map(abs, [-1, 2])), pool.is_master()
    with MPIPool(use_dill=sys.argv[2] == "dill") as pool:
        if not pool.is_master():
            pool.wait()
            sys.exit(0)
        tell("serial", *serial)
        tell("size", pool.size, pool.rank, pool.is_worker(), sorted(pool.workers))
        tell("map", pool.map(Likelihood(2.0), range(10)))
        tell("generator", pool.map(abs, (-n for n in range(5))))
        tell("empty", pool.map(abs, []))
        reported = []
        tell("callback", pool.map(abs, range(-9, 0), callback=reported.append), sorted(reported))
        tell("batched", pool.batched_map(summed, [1.5, 2.5, 3.5, 4.5, 5.5]))
        if sys.argv[2] == "dill":
            tell("lambda", pool.map(lambda x: x + 1, [1, 2]))
    tell("end")


if __name__ == "__main__":
    main()
