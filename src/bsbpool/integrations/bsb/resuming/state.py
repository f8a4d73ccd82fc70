"""What is known of a compile beside its journal: a small JSON file, written by rank 0 only.

The journal has the jobs that ended. This file has the storage that they wrote to, the configuration
they belong to, the phases that began, and which jobs must run again although they have ended.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from typing import Any

from bsbpool import exceptions

SUFFIX = ".bsb"


@dataclasses.dataclass
class CompileState:
    """The state of a compile.

    Attributes
    ----------
    storage : str
        The path of the HDF5 file.
    digest : str
        The digest of the configuration; empty as long as the storage has nothing of value.
    seed : int or None
        The seed of the configuration, which BSB may have drawn.
    run : str
        A part of all keys; a compile that starts anew has another one.
    finished : bool
        Whether the compile has ended.
    restoring : bool
        Whether the storage is being replaced by the checkpoint.
    began : dict of str to str
        The phases that began, and what stands for the contents of the storage before them.
    discards : dict of str to int
        How often all jobs of a phase were discarded.
    again : dict of str to int
        How often the end of a job was discarded, by the text of its key.
    """

    storage: str
    digest: str = ""
    seed: int | None = None
    run: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    finished: bool = False
    restoring: bool = False
    began: dict[str, str] = dataclasses.field(default_factory=dict)
    discards: dict[str, int] = dataclasses.field(default_factory=dict)
    again: dict[str, int] = dataclasses.field(default_factory=dict)

    def discard(self, phases: list[str]) -> None:
        """Discard the ends of all jobs of some phases."""
        for phase in phases:
            self.discards[phase] = self.discards.get(phase, 0) + 1
            self.began.pop(phase, None)


def read(journal: str) -> CompileState | None:
    """Return the state of the compile with a journal; None if there is none.

    Raises
    ------
    JournalError
        If the file cannot be read.
    """
    path = journal + SUFFIX
    try:
        with open(path, encoding="utf-8") as file:
            contents: dict[str, Any] = json.load(file)
        return CompileState(**contents)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise exceptions.JournalError(
            f"{path}, which belongs to the journal {journal}, cannot be read: {error}; delete "
            "both, and build the network anew"
        ) from error


def write(journal: str, state: CompileState) -> None:
    """Replace the state of the compile with a journal; it survives a kill at any moment."""
    path = journal + SUFFIX
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(state), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
