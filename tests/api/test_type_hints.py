"""`typing.get_type_hints` works for all public functions and classes.

Modules that a first pool imports have substitutes for the names of `typing`, and some types in
annotations are imported by type checkers only.
"""

import importlib
import inspect
import typing
from collections.abc import Callable

import pytest

import bsbpool
from bsbpool import create_job_pool
from bsbpool._typing import LazyType

MODULES = [
    "bsbpool", "bsbpool.exceptions", "bsbpool.futures", "bsbpool.listeners",
    "bsbpool.listeners.counting", "bsbpool.listeners.tally", "bsbpool.progress",
    "bsbpool.services", "bsbpool.integrations.bsb", "bsbpool.integrations.mpi4py_futures",
    "bsbpool.integrations.mpipool", "bsbpool.integrations.schwimmbad",
]  # fmt: skip


Missing = LazyType("no_such_module.MPI", "Comm")


def public_objects():
    """Yield the public classes and functions of bsbpool, each once, with its name."""
    seen = set()
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute in getattr(module, "__all__", None) or vars(module):
            found = getattr(module, attribute)
            if not isinstance(found, type) and not inspect.isfunction(found):
                continue
            if found.__module__.startswith("bsbpool") and found not in seen:
                seen.add(found)
                yield pytest.param(found, id=f"{found.__module__}.{found.__qualname__}")


def functions_of(cls):
    """Yield the functions that a class and its bases in bsbpool define, those of properties too."""
    for base in cls.__mro__:
        if base.__module__.startswith("bsbpool.") and "._core." not in base.__module__:
            for member in vars(base).values():
                member = getattr(member, "fget", None) or getattr(member, "__func__", member)
                if inspect.isfunction(member):
                    yield member


@pytest.mark.parametrize("found", list(public_objects()))
def test_hints_of_public_objects(found):
    for each in [found, *(functions_of(found) if isinstance(found, type) else ())]:
        for hint in typing.get_type_hints(each).values():
            assert not isinstance(hint, (str, typing.ForwardRef)), each


def test_hints_are_the_types():
    hints = typing.get_type_hints(bsbpool.JobPool.add_listener)
    assert hints["max_wait"] == float | None
    assert hints["return"] is type(None)
    scheduler = typing.get_type_hints(bsbpool.JobPool.schedule)["scheduler"]
    assert scheduler == Callable[[typing.Any], object] | None
    assert typing.get_type_hints(bsbpool.Job.status.fget)["return"] is bsbpool.JobStatus
    assert typing.get_type_hints(create_job_pool)["comm"] is typing.Any


def test_a_type_of_a_module_that_is_not_installed_is_any():
    def f(comm: "Missing", other: "Missing | None") -> None:
        pass

    hints = typing.get_type_hints(f)
    assert hints["comm"] is typing.Any
    assert hints["other"] == typing.Any | None
