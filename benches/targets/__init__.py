"""The targets as data: the programs that measure a figure, and its bound."""

from __future__ import annotations

from benches.targets import locks, size, throughput, waiting
from benches.targets.kinds import Case, Check, Target

__all__ = ["Case", "Check", "Target", "all_targets"]


def all_targets(quick: bool = False) -> dict[str, Target]:
    """Return the targets by name. Quick ones are for a trial of the suite, not for figures."""
    found = [*throughput.targets(quick), *size.targets(quick), *waiting.targets(quick)]
    found += locks.targets(quick)
    return {target.name: target for target in found}
