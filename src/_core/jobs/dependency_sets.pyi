from collections.abc import Iterable
from typing import Any

from bsbpool._core.scheduling.engine import Engine

class DependencySets:
    def __init__(self, pool: Any, engine: Engine) -> None: ...
    def of(self, deps: Iterable[Any] | None) -> tuple[list[int], int]: ...
