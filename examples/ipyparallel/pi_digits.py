"""The digits of pi: computed by the engines, and counted by them in blocks.

    mpiexec -n 4 python -m bsbpool.run examples/ipyparallel/pi_digits.py

The program also runs with ``import ipyparallel as ipp``. Each engine sums a part of Chudnovsky's
series, and the client joins the parts. Then the digits are scattered to the engines, which count
single digits and pairs of them.
"""

import sys
from collections import Counter
from math import isqrt

import bsbpool.integrations.ipyparallel as ipp

DIGITS = 100_000
BLOCK = 5_000


def part_of_series(first, end):
    """Return three integers that describe the terms from `first` to `end` of the series."""
    if end - first == 1:
        if first == 0:
            return 1, 1, 13591409
        p = (6 * first - 5) * (2 * first - 1) * (6 * first - 1)
        q = first**3 * (640320**3 // 24)
        t = p * (13591409 + 545140134 * first)
        return p, q, -t if first % 2 else t
    middle = (first + end) // 2
    return join(part_of_series(first, middle), part_of_series(middle, end))


def join(left, right):
    """Return the integers of two parts that follow each other."""
    (p1, q1, t1), (p2, q2, t2) = left, right
    return p1 * p2, q1 * q2, t1 * q2 + p1 * t2


def digits_of_pi(view):
    """Return the digits of pi behind the point."""
    terms = DIGITS // 14 + 2
    bounds = [terms * k // len(view) for k in range(len(view) + 1)]
    first, *others = view.map_sync(part_of_series, bounds[:-1], bounds[1:])
    for part in others:
        first = join(first, part)
    _, q, t = first
    guard = 10
    root = isqrt(10005 * 10 ** (2 * (DIGITS + guard)))
    return str(426880 * root * q // t)[1 : DIGITS + 1]


def count(blocks, length):
    """Return how often each sequence of digits occurs in blocks of digits."""
    from collections import Counter

    return Counter(
        block[k : k + length] for block in blocks for k in range(len(block) - length + 1)
    )


def main():
    sys.set_int_max_str_digits(0)  # Python's default limit is 4300 digits
    with ipp.Cluster(n=3) as rc:
        view = rc[:]
        view.push({"part_of_series": part_of_series, "join": join}, block=True)
        digits = digits_of_pi(view)
        # Blocks overlap by a digit, so that the pair at each border is counted once.
        pairs_in = [digits[k : k + BLOCK + 1] for k in range(0, DIGITS, BLOCK)]
        singles_in = [block[:BLOCK] for block in pairs_in]
        view.scatter("singles_in", singles_in, block=True)
        view.scatter("pairs_in", pairs_in, block=True)
        singles = view.apply_async(count, ipp.Reference("singles_in"), 1)
        pairs = view.apply_async(count, ipp.Reference("pairs_in"), 2)
        total, total_pairs = sum(singles, Counter()), sum(pairs, Counter())
    print(f"pi = 3.{digits[:30]}..., the last ten of {DIGITS} digits are {digits[-10:]}")
    print("digits", *(total[str(d)] for d in range(10)))
    (most, n_most), (least, n_least) = total_pairs.most_common()[0], total_pairs.most_common()[-1]
    print(f"{total_pairs.total()} pairs: {most} {n_most} times, {least} {n_least} times")


if __name__ == "__main__":
    main()
