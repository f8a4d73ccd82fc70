"""Generation of inputs: by atheris if it is installed, else by simple mutations.

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
"""Bytes of an input."""
PLACES = 1 << 16

Target = Callable[[bytes], None]


class Coverage:
    """What the preloaded counters say."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self.there = hasattr(self._library, "coverage_news")

    def news(self) -> int:
        """Return how many places were reached as never before, since the last call."""
        return self._library.coverage_news() if self.there else 0

    def lend(self, module: str) -> None:
        """Let libFuzzer, inside an extension module, look at the counters."""
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
    """Call the target with changed inputs until it raises or the time is up; say how often."""
    draw = random.Random(seed)
    coverage = Coverage()
    corpus = list(seeds)
    for data in corpus:
        target(data)
    coverage.news()
    n = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(draw, corpus)
        target(data)
        n += 1
        if coverage.news():
            corpus.append(data)
    led = f", {len(corpus)} of which reach something new" if coverage.there else ", blindly"
    return f"{n} inputs{led}"


def explore_with_atheris(
    target: Target, seeds: list[bytes], seed: int, seconds: float, folder: Path
) -> None:
    """As `explore`, by libFuzzer, which ends the process."""
    import atheris

    for data in seeds:
        target(data)
    options = [f"-seed={seed % 2**32 or 1}", f"-max_total_time={seconds:.0f}", "-verbosity=0",
               f"-max_len={LONGEST}", f"-artifact_prefix={folder}/libfuzzer-", "-timeout=0",
               "-rss_limit_mb=0", "-print_funcs=0", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], target, enable_python_coverage=False)
    coverage = Coverage()
    if coverage.there:
        coverage.lend("atheris.core_with_libfuzzer")
    atheris.Fuzz()


def has_atheris() -> bool:
    """Whether atheris can be imported; FUZZ_ENGINE=own does without."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return os.environ.get("FUZZ_ENGINE") != "own"


# ------------------------------------------------------------------ mutations


def mutated(draw: random.Random, corpus: list[bytes]) -> bytes:
    """Change one of the inputs a little; the younger ones more often."""
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
