"""The targets as data: the programs that measure a figure, and its bound."""

from __future__ import annotations

from benches.targets import (
    data,
    engines,
    gangs,
    journal,
    locks,
    main_works,
    rich,
    scale,
    size,
    throughput,
    waiting,
)
from benches.targets.kinds import Case, Check, Target

__all__ = ["Case", "Check", "Target", "all_targets"]


def all_targets(quick: bool = False) -> dict[str, Target]:
    """Return the targets by name. Quick ones are for a trial of the suite, not for figures."""
    found = [*throughput.targets(quick), *size.targets(quick), *waiting.targets(quick)]
    found += locks.targets(quick)
    found += rich.targets(quick)
    found += data.targets(quick)
    found += engines.targets(quick)
    found += gangs.targets(quick)
    found += journal.targets(quick)
    found += main_works.targets(quick)
    found += scale.targets(quick)
    return {target.name: target for target in found}
