"""Resources of the ranks, such as GPUs and memory, and what jobs need of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsbpool.naming import brief

MAX_DEVICES = 64
"""The largest number of devices of one kind that ranks can share."""
SCALE = 1000
"""Units of an amount that is not a number of devices, so that jobs can need fractions of it."""
SUFFIXES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([KMGTP]?)(?:iB|B)?\s*", re.IGNORECASE)


class Amount(NamedTuple):
    """An amount of a resource: a number of devices, or of units of anything else."""

    units: int
    devices: bool

    @property
    def value(self) -> float:
        """The amount as it was given."""
        return self.units if self.devices else self.units / SCALE


def parse(name: str, value: Any) -> float:
    """Return an amount as a number: an int or float as it is, a text like '4G' in bytes.

    Raises
    ------
    TypeError, ValueError
        When it is no amount; the error names the argument `name`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{name} must be a number or a text like '4G', got {brief(value)}")
    if isinstance(value, str):
        found = _AMOUNT.fullmatch(value)
        if found is None:
            raise ValueError(f"{name} must be a number or a text like '4G', got {value!r}")
        number = float(found[1]) * SUFFIXES[found[2].upper()]
        return int(number) if number.is_integer() else number
    if not 0 <= value < 2**50:
        raise ValueError(f"{name} must be from 0 to 2 ** 50, got {value}")
    return value


def declared(name: str, value: Any) -> Amount:
    """Return the declared amount of a resource. Up to 64, a whole number is a number of devices."""
    number = parse(name, value)
    if isinstance(value, int) and value <= MAX_DEVICES:
        return Amount(value, True)
    return Amount(round(number * SCALE), False)


def units_needed(name: str, value: Any, devices: bool) -> int:
    """Return the units that a job needs; of devices only whole numbers."""
    number = parse(name, value)
    if not devices:
        return round(number * SCALE)
    if number != int(number):
        raise ValueError(
            f"{name} must be a whole number of devices, got {value}; to share one, declare the "
            f"resource as a number with a fraction, such as {float(round(number) or 1)}"
        )
    return int(number)


Declaration = Mapping[Any, Any]
"""Amounts by name, for each host; or such mappings by rank (int) or host (str)."""


def check(given: Any) -> Declaration:
    """Return the argument `resources` of `create_job_pool` if it is valid.

    Raises
    ------
    TypeError, ValueError
        When it is not.
    """
    if not isinstance(given, Mapping):
        raise TypeError(
            f"resources must be a mapping of names to amounts, got {brief(given)}; use "
            "resources={'gpu': 2}"
        )
    nested = [isinstance(value, Mapping) for value in given.values()]
    if any(nested) and not all(nested):
        raise TypeError(
            "resources must map names to amounts, or ranks and hosts to such mappings, not both"
        )
    for where, amounts in given.items() if any(nested) else [("", given)]:
        if isinstance(where, bool) or not isinstance(where, (int, str)):
            raise TypeError(f"resources must have ranks or hosts as keys, got {brief(where)}")
        for name, amount in amounts.items():
            if not isinstance(name, str):
                raise TypeError(f"resources must have names as keys, got {brief(name)}")
            declared(f"resources[{name!r}]", amount)
    return given


class Stock(NamedTuple):
    """What some workers share of a resource."""

    name: str
    amount: Amount
    workers: tuple[int, ...]


def stocks(given: Declaration, hosts: Sequence[str], ranks: Sequence[int]) -> list[Stock]:
    """Return what the workers have.

    Parameters
    ----------
    given : mapping
        The declaration.
    hosts : sequence of str
        The host of each worker.
    ranks : sequence of int
        The rank of each worker.
    """
    if not given:
        return []
    if not isinstance(next(iter(given.values())), Mapping):
        given = {host: given for host in dict.fromkeys(hosts)}
    found: dict[tuple[str, int], Stock] = {}
    for where in sorted(given, key=lambda key: isinstance(key, int)):  # ranks override their host
        workers = [i for i, host in enumerate(hosts) if _is_at(ranks[i], host, where, len(ranks))]
        for name, value in given[where].items():
            stock = Stock(name, declared(name, value), tuple(workers))
            found.update({(name, worker): stock for worker in workers})
    # A worker with an amount of its own does not share that of its host.
    owners: dict[tuple[int, str], list[int]] = {}
    for (name, worker), stock in found.items():
        owners.setdefault((id(stock), name), []).append(worker)
    by_id = {id(stock): stock for stock in found.values()}
    return [by_id[key]._replace(workers=tuple(workers)) for (key, _), workers in owners.items()]


def _is_at(rank: int, host: str, where: int | str, n_workers: int) -> bool:
    """Return whether a worker is meant by a rank or the name of a host."""
    if isinstance(where, int):
        return rank == where or (n_workers == 1 and where in (0, 1))  # also of a serial run
    return where in (host, host.partition(".")[0])


def from_environment() -> dict[str, Any]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES gives to this process; empty without any."""
    visible = [part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
    return {"gpu": len(visible)} if 0 < len(visible) <= MAX_DEVICES else {}
