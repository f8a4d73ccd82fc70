"""Check README's programs and `typed_*.py` with ``mypy --strict``, as a user would.

Needs mypy and an installed bsbpool::

    python tests/helpers/typed_examples.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]


def programs(page: str = "README.md") -> list[str]:
    """Return the Python programs on a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


def check(path: Path, folder: str) -> int:
    """Check one program; return the exit code of mypy."""
    # The configuration lists the packages that have no types; the rest is --strict.
    command = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    return subprocess.run([sys.executable, "-m", "mypy", *command], cwd=folder).returncode


def main() -> int:
    """Check all programs; return the exit code."""
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, program in enumerate(programs()):
            path = Path(folder) / f"readme_{number}.py"
            path.write_text(program)
            code |= check(path, folder)
        for path in sorted(HERE.parent.glob("typed_*.py")):
            if path != HERE:
                code |= check(path, folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
