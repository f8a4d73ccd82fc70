"""The HDF5 file of a network: is it intact, and copies of it between phases."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

MARK = "bsbpool_checkpoint"
"""The attribute of a copy that tells after which phase it was made."""


def problem_of(path: str) -> str:
    """Return why a file cannot be used; empty if its structure is intact.

    All groups, attributes and the indexes of all datasets are read, but not the data.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _read(file)
            for group in ("placement", "connectivity", "files", "morphologies"):
                if group not in file:
                    return f"it has no group {group!r}"
            json.loads(file.attrs.get("chunks", "{}"))
            file.visititems(lambda name, item: _read(item))
    except Exception as error:  # damaged files raise errors of many classes
        return f"{type(error).__name__}: {error}"
    return ""


def _read(item: Any) -> None:
    for name in item.attrs:
        item.attrs[name]
    if hasattr(item, "shape") and item.chunks is not None:
        item.id.get_num_chunks()


def copy(source: str, target: str, mark: dict[str, Any] | None) -> None:
    """Copy an HDF5 file and set, or delete, its mark; the target is replaced at the end."""
    import h5py

    unfinished = f"{target}.new"
    shutil.copyfile(source, unfinished)
    with h5py.File(unfinished, "a") as file:
        if mark is not None:
            file.attrs[MARK] = json.dumps(mark)
        elif MARK in file.attrs:
            del file.attrs[MARK]
    with open(unfinished, "rb") as copied:
        os.fsync(copied.fileno())
    os.replace(unfinished, target)


def mark_of(path: str) -> dict[str, Any]:
    """Return the mark of a checkpoint; empty if the file is missing, damaged or has none."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            mark: dict[str, Any] = json.loads(file.attrs[MARK])
            return mark
    except (OSError, KeyError, ValueError, RuntimeError):
        return {}
