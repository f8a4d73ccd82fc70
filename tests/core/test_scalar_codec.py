"""Pickles of plain values: `pickle` reads them, and whatever `pickle` writes is read here.

Tests of lists, dicts and arrays are in `test_plain_containers`.
"""

import gc
import pickle
import random
import struct
import sys
from array import array

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bsbpool._core.protocol.scalar_codec import dumps, loads

WIDE = st.integers(-(2**63), 2**63 - 1)
EDGES = st.sampled_from(
    [s * 2**n + d for n in (0, 7, 8, 15, 16, 31, 32, 62) for s in (1, -1) for d in (-1, 0, 1)]
)
ASCII = st.text(st.characters(max_codepoint=127), max_size=40)
LEAVES = st.none() | st.booleans() | EDGES | WIDE | st.floats() | st.binary(max_size=40) | ASCII
TUPLES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=6).map(tuple), max_leaves=20)
ANYTHING = st.recursive(
    LEAVES | st.text() | st.integers() | st.sampled_from([b"a" * 256, "a" * 300]),
    lambda inner: (
        st.lists(inner, max_size=5).map(tuple)
        | st.lists(inner, max_size=3)
        | st.dictionaries(ASCII, inner, max_size=3)
    ),
    max_leaves=20,
)


def bits(value):
    """A value that equals that of another object only if types, signs and bits are equal."""
    if type(value) is tuple or type(value) is list:
        return type(value), [bits(item) for item in value]
    if type(value) is dict:
        return dict, [(bits(key), bits(item)) for key, item in value.items()]
    if type(value) is float:
        return float, struct.pack("d", value)
    return type(value), value


def nested(depth, inner=1):
    return inner if depth == 0 else (nested(depth - 1, inner),)


class Int(int):
    """A subclass of int."""


class Str(str):
    """A subclass of str."""


class Bytes(bytes):
    """A subclass of bytes."""


class Float(float):
    """A subclass of float."""


class Tuple(tuple):
    """A subclass of tuple."""


# ------------------------------------------------------------------ round trips


@settings(deadline=None)
@given(TUPLES)
@example((float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 5e-324))
@example((2**63 - 1, -(2**63), 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 255, 256, -1))
@example((True, 1, 1.0, False, 0, 0.0, "", b"", (), None))
def test_written_values_are_read_by_pickle_and_by_the_codec(value):
    data = dumps(value)
    if data is not None:
        assert bits(pickle.loads(data)) == bits(value)
        assert bits(loads(data)) == bits(value)


@settings(deadline=None)
@given(LEAVES | st.tuples(LEAVES) | st.lists(WIDE | st.floats(), max_size=30).map(tuple))
def test_small_scalars_are_written(value):
    assert dumps(value) is not None


@settings(deadline=None)
@given(ANYTHING)
def test_other_values_are_not_written_or_correct(value):
    data = dumps(value)
    assert data is None or bits(pickle.loads(data)) == bits(loads(data)) == bits(value)


@settings(deadline=None)
@given(ANYTHING, st.integers(0, pickle.HIGHEST_PROTOCOL))
@example(-float("nan"), 0)  # protocol 0 drops its sign
def test_pickles_of_any_protocol_are_read(value, protocol):
    data = pickle.dumps(value, protocol)
    assert bits(loads(data)) == bits(pickle.loads(data))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), max_size=34).map(tuple), max_size=34).map(tuple))
def test_large_tuples_that_pickle_reads_are_read(value):
    """More items than the stack of the reader has space for."""
    data = dumps(value)
    assert bits(loads(data or pickle.dumps(value, 4))) == bits(value)


@pytest.mark.parametrize("outer", [1, 2, 3, 4, 31, 32])
@pytest.mark.parametrize("inner", [0, 1, 2, 3, 4, 31, 32])
def test_tuples_of_any_width_inside_others(outer, inner):
    value = (None,) * (outer - 1) + ((None,) * inner,)
    for wrapped in (value, (value,), ((None,) * 31 + (value,))):
        data = dumps(wrapped)
        assert data is not None
        assert loads(data) == pickle.loads(data) == wrapped


# ------------------------------------------------------------------ values that are not written


@pytest.mark.parametrize(
    "value",
    [
        Int(3), Str("a"), Bytes(b"a"), Float(1.5), Tuple((1,)),
        {1}, frozenset(), bytearray(b"a"), 1j, ..., int, len, object(),
        2**63, -(2**63) - 1, 10**30,
        "ä", "\u20ac", "\U0001f600", "\x80", "a" * 256, b"a" * 256,
        (1,) * 65, nested(7), nested(6, ((),)),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12].encode('ascii', 'replace')!r}",
)  # fmt: skip
def test_values_of_other_types_are_not_written(value):
    assert dumps(value) is None
    assert dumps((1, value)) is None
    assert dumps((value, 1, 2, 3, 4)) is None


@pytest.mark.parametrize(
    "value", ["a" * 255, b"a" * 255, (1,) * 64, nested(5), nested(5, "a" * 255), "\x00\x7f"]
)
def test_the_largest_scalars_are_written(value):
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("leaf", [None, 1, 2**40, 1.5, "a" * 20, b"a" * 50, (), (1, 2, 3, 4)])
def test_no_pickle_is_longer_than_the_limit(leaf):
    sizes = []
    for n in range(1, 33):
        value = ((leaf,) * n,) * 4
        data = dumps(value)
        if data is not None:
            sizes.append(len(data))
            assert bits(loads(data)) == bits(value)
    assert sizes == sorted(sizes)
    assert max(sizes) <= 512
    assert dumps((("a" * 255, "b" * 255), "c" * 10)) is None


# ------------------------------------------------------------------ invalid bytes

SAMPLES = [
    dumps((1, 300, 2**40, 1.5, "text", b"bytes", (), (None, True, False), ((1, 2), (3,)))),
    dumps(("a" * 255, -1)),
    dumps(((1,) * 32,) * 3),
    pickle.dumps((1, 70_000, "text", [1]), 2),
    dumps(({"x": 1, "list": [1.5, "a", []], 3: {}, None: ()}, [{"y": b"z"}])),
    dumps((numpy.arange(6.0).reshape(2, 3), [numpy.array(True)])),
]
OPCODES = b"}]ueKJMGN\x88\x89\x8aC\x8c()t\x85\x86\x87.\x80\x95\x94"


def refused_or_read(data):
    try:
        loads(data)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
def test_every_truncation_is_refused(sample):
    assert refused_or_read(sample)
    for n in range(len(sample)):
        assert not refused_or_read(sample[:n])


# Not the opcodes of pickle that import a name or allocate gigabytes.
HARMLESS = bytes(set(range(256)) - set(b"ci\x93pr\x8e\x96B"))
CHANGES = st.lists(st.tuples(st.integers(0, 600), st.sampled_from(HARMLESS)), max_size=10)


@settings(deadline=None)
@given(st.sampled_from(SAMPLES), CHANGES)
def test_changed_bytes_are_refused_or_read(sample, changes):
    data = bytearray(sample)
    for place, byte in changes:
        data[place % len(data)] = byte
    refused_or_read(bytes(data))


@settings(deadline=None)
@given(st.lists(st.sampled_from(OPCODES), max_size=200).map(bytes))
def test_any_opcodes_are_refused_or_read(code):
    refused_or_read(b"\x80\x04" + code + b".")


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"N", b"(", b"t", b")", b"\x85", b"\x86", b"\x87", b"K\x01"])))
def test_marks_and_tuples_are_read_as_by_pickle_or_refused(code):
    data = b"\x80\x04" + b"".join(code) + b"."
    try:
        expected = pickle.loads(data)
    except Exception:
        assert not refused_or_read(data)
    else:
        assert bits(loads(data)) == bits(expected)


@pytest.mark.parametrize("n", [63, 64, 65, 200])
def test_more_items_than_the_stack_holds_are_read(n):
    assert loads(b"\x80\x04(" + b"N" * n + b"t.") == (None,) * n
    with pytest.raises(pickle.UnpicklingError):
        loads(b"\x80\x04" + b"(" * n + b".")


@pytest.mark.parametrize("wrong", [None, "abc", 5, array("i", [1]), memoryview(b"N.N.")[::2]])
def test_only_contiguous_bytes_are_read(wrong):
    with pytest.raises((TypeError, ValueError, BufferError)):
        loads(wrong)
    assert loads(bytearray(b"\x80\x04K\x05.")) == 5


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x04", b"\x80\x04C", b"\x80\x04\x8c"])
def test_no_bytes_behind_the_end_are_read(data):
    """Valid bytes follow them; sanitizers detect reads where nothing follows."""
    whole = bytearray(data + b"\0.")
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        loads(memoryview(whole)[: len(data)])
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        loads(numpy.frombuffer(data, numpy.uint8).copy())


def test_an_unknown_pickle_protocol_is_refused():
    assert loads(b"\x80\x05K\x05.") == 5
    with pytest.raises(ValueError, match="protocol"):
        loads(b"\x80\x06K\x05.")


# ------------------------------------------------------------------ references

ROUNDS = 10_000


@pytest.mark.parametrize(
    "data",
    [
        dumps((1000, 2.5, "text", b"bytes", (1, 2**40), ((3.5,), ()), (9, 8, 7, 6))),
        dumps(((1000,) * 32,) * 3),
        dumps(({"x": [1000, 2.5, {}], 1.5: "text"}, numpy.arange(5))),
        dumps(({"x": [1000, 2.5, {}], 1.5: "text"}, numpy.arange(5)))[:-1] + b"~.",
        b"\x80\x04}()]u.",
        b"\x80\x04}(]K\x01u.",
        b"\x80\x04(]}(K\x01K\x02e.",
        dumps(numpy.arange(300, 305)).replace(b"J\x05", b"J\x04"),
        dumps((1000, (2.5, "some text")))[:-1] + b"~.",
        b"\x80\x04" + b"(J\x00\x01\x02\x03" * 20 + b".",
        b"\x80\x04" + b"G12345678" * 70 + b".",
    ],
    ids=["tuple", "too wide here", "containers", "broken containers", "odd dict", "unhashable",
         "no list", "wrong shape", "unknown opcode", "open marks", "too many items"],
)  # fmt: skip
def test_reading_leaks_no_objects(data):
    for _ in range(100):
        refused_or_read(data)
    before = sys.getallocatedblocks()
    for _ in range(ROUNDS):
        refused_or_read(data)
    assert sys.getallocatedblocks() - before < ROUNDS // 100


def test_writing_and_reading_keep_reference_counts():
    draw = random.Random(0)
    shared = (draw.random(), "some text", draw.randbytes(9))
    value = (shared, shared, (shared,))
    value += ([shared, {"key": shared}],)
    counts = [sys.getrefcount(item) for item in (*shared, shared, value)]
    gc.collect()  # garbage of other tests refers to None
    gc.disable()
    empty, none = sys.getrefcount(()), sys.getrefcount(None)
    try:
        for _ in range(ROUNDS):
            loads(dumps(value))
            loads(dumps(((), None, True, 1)))
    finally:
        gc.enable()
    assert [sys.getrefcount(item) for item in (*shared, shared, value)] == counts
    assert abs(sys.getrefcount(()) - empty) < 100
    assert abs(sys.getrefcount(None) - none) < 100


def test_a_read_value_has_one_reference():
    value = loads(dumps((1.5, ("text", 10**9))))
    other = (1.5 * random.random(), ("t" * random.randint(4, 5), 10**9 + random.randint(0, 9)))
    assert sys.getrefcount(value) == sys.getrefcount(other)
    assert [sys.getrefcount(item) for item in value] == [sys.getrefcount(item) for item in other]
