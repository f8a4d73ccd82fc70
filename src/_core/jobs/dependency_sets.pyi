from typing import Any

from bsbpool._core.scheduling.engine import Engine

class DependencySets:
    def __init__(self, pool: Any, engine: Engine, refuse: Any) -> None: ...
