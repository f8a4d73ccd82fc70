"""Checks of the values of job options. Each returns the value in the form in which it is kept."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any

from bsbpool import arguments
from bsbpool._core.jobs.handle import Handle
from bsbpool.naming import brief

RetryOn = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]

def _jobs(name: str, value: Any) -> tuple[Handle, ...]:
    if isinstance(value, Handle) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a list of jobs, got {brief(value)}; use {name}=[job]")
    jobs = tuple(value)
    for job in jobs:
        if not isinstance(job, Handle):
            raise TypeError(f"{name} must contain jobs as returned by queue(), got {brief(job)}")
    return jobs


def _ranks(name: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a list of ranks, got {brief(value)}; use {name}=[1, 2]")
    ranks = tuple(_integer(name, rank) for rank in value)
    if not ranks:
        raise ValueError(f"{name} is empty, so no rank may run the job; leave it out for any rank")
    return ranks


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {brief(value)}")
    return int(value)


def _count(name: str, value: Any) -> int:
    if _integer(name, value) < 0:
        raise ValueError(f"{name} must be at least 0, got {brief(value)}")
    return int(value)


def _priority(name: str, value: Any) -> int:
    if not -(2**31) <= _integer(name, value) < 2**31:
        raise ValueError(f"{name} must be an integer of 32 bits, got {brief(value)}")
    return int(value)


def _seed(name: str, value: Any) -> int | None:
    return None if value is None else _count(name, value)


def _seconds(name: str, value: Any) -> float | None:
    return None if value is None else arguments.seconds(name, value)


def _name(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {brief(value)}")
    return value


def _retry_on(name: str, value: Any) -> RetryOn:
    classes = value if isinstance(value, tuple) else (value,)
    if all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in classes):
        return value  # type: ignore[no-any-return]
    if callable(value) and not isinstance(value, type):
        return value  # type: ignore[no-any-return]
    raise TypeError(
        f"{name} must be an exception class, a tuple of them, or a function of the error, got "
        f"{brief(value)}"
    )


def _requires(name: str, value: Any) -> tuple[Callable[[], object], ...]:
    if callable(value) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a list of functions, got {brief(value)}; use [function]")
    checks = tuple(value)
    for check in checks:
        if not callable(check):
            raise TypeError(f"{name} must contain functions, got {brief(check)}")
    return checks


def _keep(name: str, value: Any) -> str:
    if value not in ("main", "worker"):
        raise ValueError(f"{name} must be 'main' or 'worker', got {brief(value)}")
    return str(value)


def _ranks_of_job(name: str, value: Any) -> int:
    if _integer(name, value) < 1:
        raise ValueError(
            f"{name} must be at least 1, the number of ranks that run the job, got {value}"
        )
    return int(value)


def _placement(name: str, value: Any) -> str:
    if value not in ("any", "node"):
        raise ValueError(f"{name} must be 'any' or 'node', got {brief(value)}")
    return str(value)


def _resources(name: str, value: Any) -> Mapping[str, int | float | str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of names to amounts, got {brief(value)}")
    for resource, amount in value.items():
        if not isinstance(resource, str):
            raise TypeError(f"{name} must have strings as keys, got {brief(resource)}")
        if isinstance(amount, bool) or not isinstance(amount, (numbers.Real, str)):
            raise TypeError(
                f"{name}[{resource!r}] must be a number or a text like '4G', got {brief(amount)}"
            )
    return dict(value)


def key_version(name: str, value: Any) -> int | str | None:
    """Return the option `key_version`; raise TypeError if it is no number and no text."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, str))):
        raise TypeError(f"{name} must be an integer or a string, got {brief(value)}")
    return value


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "deps": _jobs,
    "after_any": _jobs,
    "on_failure": _jobs,
    "on_end": _jobs,
    "targets": _ranks,
    "follow": _jobs,
    "follow_grace": _seconds,
    "priority": _priority,
    "retries": _count,
    "retry_on": _retry_on,
    "retry_elsewhere": arguments.flag,
    "retries_if_lost": _count,
    "timeout": _seconds,
    "dependency_timeout": _seconds,
    "resources": _resources,
    "capture_output": arguments.flag,
    "seed": _seed,
    "requires": _requires,
    "keep": _keep,
    "ranks": _ranks_of_job,
    "gather": arguments.flag,
    "placement": _placement,
    "key": _name,
    "key_version": key_version,
    "journaled": arguments.flag,
}
"""The checks by the names of the options: `check(name, value)`."""
