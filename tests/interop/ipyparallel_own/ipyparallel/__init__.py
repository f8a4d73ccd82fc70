"""Stands in for the package ipyparallel: its modules, with the names that its tests import."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

import bsbpool.integrations.ipyparallel as adapter
from bsbpool.integrations.ipyparallel import *  # noqa: F403
from bsbpool.integrations.ipyparallel import error
from bsbpool.integrations.ipyparallel._pickling import Packed, pack, place, unpack


def new_client(cls: type, *args: Any, **kwargs: Any) -> Any:
    """Make a client, as does `object.__new__`, which Python cannot restore when it was replaced."""
    return object.__new__(cls)


def can(obj: Any) -> Packed:
    """Return an object as it is sent to engines."""
    return pack(obj)


def uncan(packed: Packed, namespace: dict[str, Any]) -> Callable[..., Any]:
    """Return a function that runs as on an engine with a namespace that receives it."""

    @contextmanager
    def on_engine() -> Iterator[None]:
        place.namespace = namespace
        try:
            yield
        finally:
            place.namespace = None

    with on_engine():
        return on_engine()(unpack(*packed))


def _add_module(name: str, **names: Any) -> None:
    """Add a module; it is a package, so that there can be others in it."""
    module = types.ModuleType(f"{__name__}.{name}")
    module.__path__ = []
    vars(module).update(names)
    sys.modules[module.__name__] = module
    parent, _, last = module.__name__.rpartition(".")
    setattr(sys.modules[parent], last, module)


adapter.Client.__new__ = staticmethod(new_client)  # one of the tests replaces it for a while
sys.modules[f"{__name__}.error"] = error
_add_module("client")
_add_module("client.client", Client=adapter.Client)
_add_module(
    "client.view",
    LazyMapIterator=adapter.LazyMapIterator,
    LoadBalancedView=adapter.LoadBalancedView,
)
_add_module("client._joblib", IPythonParallelBackend=adapter.register_joblib_backend)
_add_module("datapub", publish_data=adapter.publish_data)
_add_module("serialize", can=can, uncan=uncan)
_add_module("util", interactive=adapter.interactive, utc=UTC)
