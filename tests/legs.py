"""The legs of the test suite: runs of pytest, each with an environment, ranks and tests.

A test that does not depend on the MPI or the number of ranks runs in one leg only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from helpers.launch import launcher

# No cache: the ranks would overwrite each other's. No colour: Open MPI gives ranks a terminal.
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--durations=5")


ROOT = Path(__file__).parents[1]


class Leg(NamedTuple):
    """One run of pytest."""

    env: str
    """The environment, a folder in .envs."""
    args: tuple[str, ...]
    """Arguments for pytest."""
    ranks: int = 0
    """The number of ranks; with 0 there is no mpiexec."""
    cores: int = 1
    """The number of cores that the leg needs for itself."""
    under: tuple[str, ...] = ()
    """A script, with arguments, that runs pytest."""
    leaders: str = ""
    """The value of BSBPOOL_LEADERS: the leaders of pools that choose none."""

    def command(self, python: Path) -> list[str]:
        """Return the command line."""
        mpi = launcher(self.ranks, python) if self.ranks else []
        return [*mpi, str(python), *self.under, *PYTEST, *self.args]


ALONE = 1_000
"""More cores than there are: nothing else runs beside the leg."""


def _on_ranks(env: str, ranks: int, left_out: str, leaders: str = "") -> Leg:
    """Return a leg of the tests that run under mpiexec. They measure time, so it runs alone."""
    args = ("--with-mpi", "-m", left_out, "tests/mpi")
    return Leg(env, args, ranks=ranks, cores=ALONE, leaders=leaders)


# The longest legs first, so that no core is idle at the end.
TEST = {
    "integrations": Leg("mpich", ("-m", "not long", "tests/interop")),
    "api": Leg("mpich", ("-m", "not timing and not long", "tests/api")),
    # The tests that start ranks themselves, on the other MPI.
    "launch-openmpi": Leg(
        "openmpi",
        (
            "-m", "launches and not slow and not long and not timing",
            "tests/api/test_across_ranks.py",
            "tests/api/test_defects.py",
            "tests/api/test_doctor_launch.py",
            "tests/api/test_ends.py",
            "tests/api/test_logging.py",
            "tests/api/test_restarts.py",
            "tests/api/test_services.py",
            "tests/api/test_state_dump.py",
            "tests/interop/test_network.py",
            "tests/locking",
        ),
    ),
    "integrations-openmpi": Leg(
        "openmpi",
        (
            "-m", "launches and not slow and not long",
            "-k", "not alone",  # one process without an MPI
            "tests/futures/test_run.py",
            "tests/api/test_other_pools.py",
            "tests/interop/test_examples.py",
            "tests/interop/test_ipyparallel_own.py",
            "tests/interop/test_ipyparallel_programs.py",
            "tests/interop/test_joblib.py",
            "tests/interop/test_moving.py",
            "tests/interop/test_scinexus.py",
        ),
    ),
    "futures": Leg("mpich", ("-m", "not timing and not long", "tests/futures")),
    # The wheel together with the modules for tests: see "Testing build" in CONTRIBUTING.md.
    "core": Leg("testing", ("tests/core", "tests/sim")),
    "sanitized": Leg(
        "sanitize",
        (
            "tests/core", "tests/fuzz", "--ignore=tests/core/test_scale.py",
            # They need Cython and no core.
            "--ignore=tests/core/test_cythonize.py",
            "--ignore=tests/core/test_generated.py",
            # They measure memory and time, of which the sanitizer takes more.
            "--deselect=tests/core/test_many_workers.py::"
            "test_the_tables_take_few_bytes_for_each_worker",
            "--deselect=tests/core/test_simulator.py::test_a_million_jobs_take_little_time",
            "--effort=0.2",
        ),
        under=("tests/helpers/under.py", "asan"),
    ),
    "tools": Leg(
        "mpich",
        (
            "-m", "not long",
            "tests/differential",
            "tests/helpers",
            "tests/locking",
            *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/test_*.py"))),
        ),
    ),
    "timing": Leg("mpich", ("-m", "timing", "tests/api"), cores=ALONE),
    "soak": Leg("mpich", ("-m", "not long", "tests/soak"), cores=ALONE),
    "soak-openmpi": Leg("openmpi", ("-m", "launches and not long", "tests/soak"), cores=ALONE),
    "timing-openmpi": Leg("openmpi", ("-m", "timing", "tests/api/test_defects.py"), cores=ALONE),
    "chaos-openmpi": Leg("openmpi", ("tests/chaos",), cores=ALONE),
    "many": Leg("mpich", ("tests/many",), cores=ALONE),
    "many-openmpi": Leg("openmpi", ("-k", "sixteen", "tests/many"), cores=ALONE),
    "mpich-2": _on_ranks("mpich", 2, "not many_ranks and not main_works"),
    "mpich-4": _on_ranks("mpich", 4, "not slow"),
    "openmpi-3": _on_ranks("openmpi", 3, "not many_ranks"),
    # Pools with two levels: rank 1 relays the messages of ranks 2 and 3.
    "leaders-openmpi-4": _on_ranks("openmpi", 4, "not slow and not timing", leaders="3"),
}  # fmt: skip
"""The legs of ``make test``."""

MORE = {
    "long": Leg("mpich", ("-m", "long", "tests"), cores=ALONE),
    "mpich-3": _on_ranks("mpich", 3, "not slow and not many_ranks"),
    "openmpi-2": _on_ranks("openmpi", 2, "not slow and not many_ranks"),
    "openmpi-4": _on_ranks("openmpi", 4, "not slow"),
    "leaders-3": _on_ranks("mpich", 3, "not slow and not many_ranks", leaders="2"),
    "leaders-4": _on_ranks("mpich", 4, "not slow", leaders="3"),
    "guard-openmpi": Leg("openmpi", ("tests/helpers",), cores=ALONE),
}
"""The legs that only ``make test-all`` adds."""

QUICK = "not launches and not slow and not interop and not long"
CHECK = {
    "core": Leg("dev", ("tests/core", "tests/sim", "--effort=0.2")),
    "api": Leg(
        "dev",
        (
            "-m", f"not timing and {QUICK}",
            "tests/api",
            "tests/test_walls.py",
            "tests/test_vocabulary.py",
        ),
    ),
    "futures": Leg("dev", ("-m", f"not timing and {QUICK}", "tests/futures")),
    "timing": Leg("dev", ("-m", f"timing and {QUICK}", "tests/api"), cores=ALONE),
}
"""The legs of ``make check``: no test that starts ranks."""
