"""Check README's programs with ``mypy --strict``, as a user would; needs mypy and bsbpool.

    python tests/helpers/typed_examples.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def programs(page: str = "README.md") -> list[str]:
    """Return the Python programs on a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


def main() -> int:
    """Check all programs; return the exit code."""
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, program in enumerate(programs()):
            path = Path(folder) / f"readme_{number}.py"
            path.write_text(program)
            # The configuration lists the packages without types.
            command = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
            code |= subprocess.run([sys.executable, "-m", "mypy", *command], cwd=folder).returncode
    return code


if __name__ == "__main__":
    sys.exit(main())
