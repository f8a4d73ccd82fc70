"""`_read_required_cache_items` returns a set that works with all operators, on both sides."""

from __future__ import annotations

import operator
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbpool.caching import CacheId, token_of
from bsbpool.integrations.bsb.pool import BsbJobPool

from .support import nothing

NAMES = ["layer.density", "layer.thickness", "net.indicators", "a", "b"]
NUMBERS = [zlib.crc32(name.encode()) for name in NAMES] + [1, 2, 77]

OPERATORS = [
    *(operator.sub, operator.or_, operator.and_, operator.xor),
    *(operator.isub, operator.ior, operator.iand, operator.ixor),
    *(operator.le, operator.lt, operator.ge, operator.gt, operator.eq, operator.ne),
]
METHODS = [
    *("difference", "union", "intersection", "symmetric_difference"),
    *("issubset", "issuperset", "isdisjoint"),
]
some_numbers = st.sets(st.sampled_from(NUMBERS))
kinds = st.sampled_from([set, frozenset, lambda numbers: dict.fromkeys(numbers).keys()])


def as_ids(numbers):
    """Replace the numbers of named items with the ids under which nodes register them."""
    named = {zlib.crc32(name.encode()): name for name in NAMES}
    return {CacheId(named[n]) if n in named else n for n in numbers}


def required(numbers):
    """Return the value of the pool's method when jobs need these items."""
    tokens = frozenset(map(token_of, as_ids(numbers)))
    run = SimpleNamespace(needed_tokens=lambda: tokens)
    return BsbJobPool._read_required_cache_items(
        SimpleNamespace(run_context=SimpleNamespace(run=run))
    )


def outcome(operate, left, right):
    try:
        return operate(left, right)
    except TypeError as error:
        return str(error)


@given(some_numbers, some_numbers, kinds, st.sampled_from([lambda numbers: numbers, as_ids]))
def test_required_items_are_a_set_in_every_operator(needed, others, kind, spelled):
    for operate in OPERATORS:
        expected = outcome(operate, set(needed), kind(others))
        assert outcome(operate, required(needed), kind(spelled(others))) == expected
        reflected = outcome(operate, kind(others), set(needed))
        assert outcome(operate, kind(spelled(others)), required(needed)) == reflected
    for method in METHODS:
        expected = getattr(needed, method)(others)
        assert getattr(required(needed), method)(kind(spelled(others))) == expected
        assert getattr(set(spelled(others)), method)(required(needed)) == getattr(others, method)(
            needed
        )
    assert set(required(needed)) == needed
    assert sorted(required(needed)) == sorted(needed)
    assert len(required(needed)) == len(needed)
    for number in NUMBERS:
        assert (number in required(needed)) == (number in needed)
    with pytest.raises(TypeError, match="unhashable"):
        hash(required(needed))


def test_the_items_of_an_owner_minus_the_required_ones(bsb_pool):
    """The expression in BSB's tests, with items whose names have the same number."""
    kept = {CacheId(name): [] for name in ("plumless", "buckeroo", "layer.density")} | {5: []}
    bsb_pool.queue(nothing, cache_items=[CacheId("plumless"), 5])
    required = bsb_pool._read_required_cache_items()
    assert set(kept) - required == {CacheId("buckeroo"), CacheId("layer.density")}
    assert required - set(kept) == set()
    assert kept.keys() & required == {CacheId("plumless"), 5}
