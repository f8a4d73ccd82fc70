"""Generates inputs: with atheris if it is installed, else by simple mutations.

Both use the coverage of the inputs if the modules were built to report it (see coverage.c and
`make fuzz`); otherwise inputs are random.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .draw import EDGES

LONGEST = 2_000
"""The largest size of an input in bytes."""
PLACES = 1 << 16

Target = Callable[[bytes], None]


class Coverage:
    """The counters of the preloaded library, see coverage.c."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self.available = hasattr(self._library, "coverage_new_places")

    def new_places(self) -> int:
        """Return how many places inputs since the last call reached first, or more often."""
        return self._library.coverage_new_places() if self.available else 0

    def share(self, module: str) -> None:
        """Register the counters with libFuzzer, which is inside an extension module."""
        fuzzer = ctypes.CDLL(importlib.import_module(module).__file__)
        counters = (ctypes.c_ubyte * PLACES).in_dll(self._library, "coverage_counts")
        counts = ctypes.addressof(counters)
        self._table = (ctypes.c_size_t * (2 * PLACES))(*range(2 * PLACES))  # places have no names
        for f, start, size in (
            (fuzzer["__sanitizer_cov_8bit_counters_init"], counts, PLACES),
            (fuzzer["__sanitizer_cov_pcs_init"], ctypes.addressof(self._table), 16 * PLACES),
        ):
            f.argtypes = [ctypes.c_size_t] * 2
            f(start, start + size)


def explore(target: Target, seeds: list[bytes], seed: int, seconds: float) -> str:
    """Call a target with mutated inputs until it raises or the time is up; return a summary."""
    draw = random.Random(seed)
    coverage = Coverage()
    corpus = list(seeds)
    for data in corpus:
        target(data)
    coverage.new_places()
    n = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(draw, corpus)
        target(data)
        n += 1
        if coverage.new_places():
            corpus.append(data)
    reached = f"{len(corpus)} with new coverage" if coverage.available else "no coverage data"
    return f"{n} inputs, {reached}"


def explore_with_atheris(
    target: Target, seeds: list[bytes], seed: int, seconds: float, folder: Path
) -> None:
    """Fuzz a target with libFuzzer, which ends the process."""
    import atheris

    for data in seeds:
        target(data)
    options = [f"-seed={seed % 2**32 or 1}", f"-max_total_time={seconds:.0f}", "-verbosity=0",
               f"-max_len={LONGEST}", f"-artifact_prefix={folder}/libfuzzer-", "-timeout=0",
               "-rss_limit_mb=0", "-print_funcs=0", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], target, enable_python_coverage=False)
    coverage = Coverage()
    if coverage.available:
        coverage.share("atheris.core_with_libfuzzer")
    atheris.Fuzz()


def has_atheris() -> bool:
    """Whether to use atheris: if it can be imported, and FUZZ_ENGINE is not "own"."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return os.environ.get("FUZZ_ENGINE") != "own"


# ------------------------------------------------------------------ mutations


def mutated(draw: random.Random, corpus: list[bytes]) -> bytes:
    """Return one of the inputs with some changes; newer inputs are more likely."""
    n = len(corpus)
    data = bytearray(corpus[max(draw.randrange(n), draw.randrange(n))])
    for _ in range(1 << draw.randrange(5)):
        draw.choice(CHANGES)(draw, data, corpus)
    return bytes(data[:LONGEST])


def _flip(draw: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _set(draw: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.randrange(256)


def _set_number(draw: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    size = draw.choice([2, 4, 8])
    at = draw.randrange(len(data) + 1)
    data[at : at + size] = (draw.choice(EDGES) % 2 ** (8 * size)).to_bytes(size, "little")


def _insert(draw: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = draw.randbytes(1 << draw.randrange(6))


def _delete(draw: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    del data[at : at + (1 << draw.randrange(6))]


def _repeat(draw: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    start, at = draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)
    data[at:at] = data[start : start + (1 << draw.randrange(7))]


def _splice(draw: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    other = draw.choice(corpus)
    start, at = draw.randrange(len(other) + 1), draw.randrange(len(data) + 1)
    data[at:] = other[start:]


CHANGES = [_flip, _set, _set, _set_number, _insert, _delete, _repeat, _splice]
