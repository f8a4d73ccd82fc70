"""Run Python with a tool that checks its memory accesses.

    python tests/helpers/under.py asan -m pytest tests/core
    python tests/helpers/under.py memcheck -m pytest tests/core

`asan` needs an environment whose compiled modules were built with sanitizers (see the Makefile).
The first error that a tool finds ends the process with the exit code 99.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUPPRESSIONS = Path(__file__).with_name("cpython.supp")
FOUND = 99
"""The exit code after an error."""


def under_asan(env: dict[str, str]) -> list[str]:
    """Return the command; preload the sanitizers' libraries, which Python is not linked to."""
    compiler = env.get("CC", "gcc")
    # libstdc++, because ASan looks for the functions that throw C++ exceptions when it starts.
    names = ["libasan.so", "libstdc++.so.6"]
    loaded = [_output(compiler, f"-print-file-name={name}") for name in names]
    coverage = Path(sys.prefix) / "coverage.so"
    loaded += [str(coverage)] if coverage.exists() else []
    env["LD_PRELOAD"] = ":".join(loaded)
    # CPython does not free all memory at its end, so leaks are not reported. A huge allocation
    # returns NULL, as without sanitizers.
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
    """Replace this process by the command."""
    kinds = {"asan": under_asan, "memcheck": under_memcheck}
    if len(sys.argv) < 3 or sys.argv[1] not in kinds:
        raise SystemExit(__doc__)
    # Python's own allocator would hide the bounds of blocks. The environments have no MPI, because
    # the tools report errors in its libraries.
    env = dict(os.environ) | {"PYTHONMALLOC": "malloc", "BSB_IGNORE_PARALLEL": "1"}
    command = kinds[sys.argv[1]](env) + sys.argv[2:]
    os.execvpe(command[0], command, env)


if __name__ == "__main__":
    main()
