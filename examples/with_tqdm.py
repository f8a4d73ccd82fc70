"""tqdm: a progress bar for a map, as `process_map` and `thread_map` of tqdm show it.

    mpiexec -n 3 python examples/with_tqdm.py

`map` yields results in order while later ones are computed, so the bar advances with each result.
With `unordered=True` it also advances while an early item takes long.
"""

from bsbpool.futures import PoolExecutor


def rank_map(executor, function, *iterables, **options):
    """Map a function like tqdm's `process_map`, on ranks; `options` are those of the bar."""
    from tqdm import tqdm

    sizes = [len(iterable) for iterable in iterables if hasattr(iterable, "__len__")]
    options.setdefault("total", min(sizes, default=None))
    return list(tqdm(executor.map(function, *iterables), **options))


def steps_to_one(n):
    """Return the length of the Collatz sequence: halve even numbers, map odd n to 3n + 1."""
    steps = 0
    while n != 1:
        n, steps = (3 * n + 1 if n % 2 else n // 2), steps + 1
    return steps


def longest(executor):
    return max(rank_map(executor, steps_to_one, range(1, 3000), desc="Collatz", mininterval=1))


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"steps {longest(executor)}")
