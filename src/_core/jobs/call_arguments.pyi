from collections.abc import Mapping
from typing import Any

def check_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> None: ...
