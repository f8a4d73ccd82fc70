"""A journal and its folder must belong to the user: their pickles can run code."""

from __future__ import annotations

import os

from bsbpool import exceptions


def check_private(path: str, status: os.stat_result, mode: str) -> None:
    """Refuse a file or folder that other users can write.

    Parameters
    ----------
    path : str
        Its path.
    status : os.stat_result
        Its status.
    mode : str
        The mode that the user can set.

    Raises
    ------
    JournalError
        If others can write it, or it belongs to another user.
    """
    if status.st_mode & 0o022 or status.st_uid != os.geteuid():
        raise exceptions.JournalError(
            f"{path} can be written by other users, or belongs to one. A journal has "
            "pickles, which can run code when they are loaded; use a journal of your own, "
            f"with `chmod {mode}`"
        )
