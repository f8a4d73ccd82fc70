"""Inventories of other projects, stored as text, so that a build needs no network.

A file ``python.txt`` has the address of the project's documentation in its first line. Each further
line has a role and one or more names, and the page that documents them::

    exception library/exceptions.html TimeoutError ValueError
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

HEADER = """\
# Sphinx inventory version 2
# Project: {}
# Version: 3
# The remainder of this file is compressed using zlib.
"""


def entries(text: str) -> list[str]:
    """Return the lines of an inventory for the lines of a file."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            role, page, *names = line.split()
            found += [f"{name} py:{role} 1 {page}#$ -" for name in names]
    return found


def mapping(folder: Path) -> dict[str, tuple[str, str]]:
    """Write the inventories of a folder; return the value of ``intersphinx_mapping``."""
    out = Path(tempfile.mkdtemp(prefix="inventories-"))
    found = {}
    for path in sorted(folder.glob("*.txt")):
        address, _, rest = path.read_text().partition("\n")
        body = "".join(f"{line}\n" for line in entries(rest))
        inventory = out / f"{path.stem}.inv"
        inventory.write_bytes(HEADER.format(path.stem).encode() + zlib.compress(body.encode()))
        found[path.stem] = (address, str(inventory))
    return found
