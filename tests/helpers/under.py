"""Run Python with something that watches its memory.

    python tests/helpers/under.py asan -m pytest tests/core
    python tests/helpers/under.py memcheck -m pytest tests/core

`asan` is for an environment whose rooms were built with sanitizers (see the Makefile). The
first finding ends the process, with an exit code that is not 0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUPPRESSIONS = Path(__file__).with_name("cpython.supp")
FOUND = 99
"""The exit code of what found something."""


def under_asan(env: dict[str, str]) -> list[str]:
    """Let the runtimes come before all others, as they must where Python does not bring them."""
    compiler = env.get("CC", "gcc")
    # libstdc++, since ASan looks only once for what C++ throws with. That is when it begins.
    names = ["libasan.so", "libstdc++.so.6"]
    loaded = [_output(compiler, f"-print-file-name={name}") for name in names]
    coverage = Path(sys.prefix) / "coverage.so"
    loaded += [str(coverage)] if coverage.exists() else []
    env["LD_PRELOAD"] = ":".join(loaded)
    # CPython keeps what it has to its end, so leaks are none. A huge allocation is an error here,
    # as it is elsewhere.
    env["ASAN_OPTIONS"] = f"detect_leaks=0:allocator_may_return_null=1:exitcode={FOUND}"
    env["UBSAN_OPTIONS"] = f"halt_on_error=1:print_stacktrace=1:exitcode={FOUND}"
    return [sys.executable]


def under_memcheck(env: dict[str, str]) -> list[str]:
    """Return the command of valgrind."""
    if not shutil.which("valgrind"):
        raise SystemExit("This needs valgrind. Install it (Debian: apt install valgrind).")
    return [
        "valgrind", "--quiet", f"--error-exitcode={FOUND}", f"--suppressions={SUPPRESSIONS}",
        "--num-callers=30", "--fair-sched=try", sys.executable,
    ]  # fmt: skip


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Become what was asked for."""
    kinds = {"asan": under_asan, "memcheck": under_memcheck}
    if len(sys.argv) < 3 or sys.argv[1] not in kinds:
        raise SystemExit(__doc__)
    # Python's own allocator would hide where a block of memory ends.
    # The environments are without MPI, whose libraries have findings of their own.
    env = dict(os.environ) | {"PYTHONMALLOC": "malloc", "BSB_IGNORE_PARALLEL": "1"}
    command = kinds[sys.argv[1]](env) + sys.argv[2:]
    os.execvpe(command[0], command, env)


if __name__ == "__main__":
    main()
