"""The global names that code uses."""

from __future__ import annotations

import dis
import functools
import types

OPERATIONS = frozenset(
    ["LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"]
)
"""Instructions with a global name; class bodies inside functions have the last two."""


@functools.lru_cache(maxsize=4096)
def global_names(code: types.CodeType) -> frozenset[str]:
    """Return the global names that code, or code nested in it, reads, sets or deletes."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in OPERATIONS
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= global_names(constant)
    return frozenset(names)
