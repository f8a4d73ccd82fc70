"""Pickles of lists, dicts and small arrays by the codec: equal to what `pickle` would give."""

import collections
import pickle
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bsbpool._core.protocol.scalar_codec import dumps, dumps_call, is_mutable, loads
from bsbpool._core.protocol.small_arrays import array

ASCII = st.text(st.characters(max_codepoint=127), max_size=12)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats()
    | st.binary(max_size=12) | ASCII
)  # fmt: skip
KINDS = ["f8", "f4", "f2", "c16", "c8", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@st.composite
def arrays(draw):
    shape, kind = draw(SHAPES), draw(st.sampled_from(KINDS))
    made = np.arange(np.prod(shape, dtype=int)).astype(kind).reshape(shape).copy()
    made.flags.writeable = draw(st.booleans())
    return made


VALUES = st.recursive(
    LEAVES | arrays(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(LEAVES, inner, max_size=4)
    ),
    max_leaves=12,
)


def describe(value, seen=None):
    """The types, bits and order of a value, and which mutable objects inside are the same."""
    seen = {} if seen is None else seen
    if type(value) in (list, dict, np.ndarray):
        if id(value) in seen:
            return "same as", seen[id(value)]
        seen[id(value)] = len(seen)
    if type(value) in (list, tuple):
        return type(value), [describe(item, seen) for item in value]
    if type(value) is dict:
        return dict, [(describe(key), describe(item, seen)) for key, item in value.items()]
    if type(value) is float:
        return float, struct.pack("d", value)
    if isinstance(value, np.ndarray):
        flags = value.flags
        head = type(value), value.dtype.str, value.dtype.char, value.shape, flags.writeable
        return *head, flags.c_contiguous, value.tobytes()
    return type(value), value


def by_pickle(value):
    return pickle.loads(pickle.dumps(value, 5))


class Dict(dict):
    """A subclass of dict."""


class List(list):
    """A subclass of list."""


class Array(np.ndarray):
    """A subclass of ndarray."""


# ------------------------------------------------------------------ round trips


@settings(deadline=None)
@given(VALUES)
@example([True, 1, 1.0, False, 0, {"b": 1, "a": 2}, {1: "x", 1.5: "y", None: "z", b"k": ()}])
@example({True: 1, 0: False})
@example([[], {}, (), [[]], {"": {}}, np.zeros(0), np.zeros((2, 0, 3)), np.array(3.5)])
def test_written_values_are_read_as_pickle_reads_its_own(value):
    data = dumps(value)
    if data is not None:
        expected = describe(by_pickle(value))
        assert describe(loads(data)) == expected
        assert describe(pickle.loads(data)) == expected


@settings(deadline=None)
@given(st.lists(VALUES, max_size=3), st.dictionaries(ASCII, VALUES, max_size=3), st.integers(0, 3))
def test_calls_are_written_as_the_tuple_of_their_parts(args, keywords, position):
    data = dumps_call(tuple(args), keywords, position)
    whole = (tuple(args), keywords, *((position,) if position else ()))
    if data is not None:
        assert describe(loads(data)) == describe(pickle.loads(data)) == describe(by_pickle(whole))


@pytest.mark.parametrize(
    "value",
    [
        {"x": 1, "mode": "b"}, [1, 2.5, "text", None], [[1, [2]], {"a": {"b": [()]}}],
        np.arange(20.0), {"weights": np.ones((2, 3), "f4"), "bias": [0.5]}, [1] * 64,
        dict.fromkeys(range(64)), (np.zeros(50),), [{} for _ in range(15)],
    ],
    ids=range(9),
)  # fmt: skip
def test_small_containers_are_written(value):
    assert describe(loads(dumps(value))) == describe(value)


def test_each_reading_makes_new_objects():
    data = dumps(({"a": [1]}, np.arange(3)))
    first, second = loads(data), loads(data)
    first[0]["a"].append(2)
    first[1][0] = 7
    assert second[0] == {"a": [1]}
    assert second[1].tolist() == [0, 1, 2]
    assert second[1].flags.owndata


def test_an_array_of_another_rank_is_independent_of_what_was_written():
    source = np.arange(4)
    data = dumps(source)
    source[0] = 9
    assert loads(data).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "mutable"),
    [(1, False), ((1, "a"), False), ((), False), ([], True), (({},), True), (np.ones(1), True)],
    ids=range(6),
)
def test_what_must_be_read_anew_is_known_without_reading(value, mutable):
    assert is_mutable(dumps(value)) is mutable


def test_keywords_alone_do_not_make_a_call_mutable():
    assert not is_mutable(dumps_call((1,), {"x": 2}))
    assert is_mutable(dumps_call((1,), {"x": [2]}))


# ------------------------------------------------------------------ values that are not written


def cycles():
    ring = []
    ring.append(ring)
    around = {}
    around["self"] = [around]
    through_tuple = []
    through_tuple.append((1, through_tuple))
    return [ring, around, through_tuple]


def shared():
    inner, table, numbers = [1], {"a": 1}, np.arange(3)
    pair = (inner, 1)
    return [
        [inner, inner], (table, [table]), [numbers, numbers], {"a": inner, "b": [inner]},
        (pair, pair), [numbers, (numbers,)],
    ]  # fmt: skip


@pytest.mark.parametrize("value", [*cycles(), *shared()], ids=range(9))
def test_objects_that_occur_twice_are_left_to_pickle(value):
    assert dumps(value) is None
    assert dumps_call((value,), {}) is None


def test_an_object_in_both_parts_of_a_call_is_left_to_pickle():
    inner = [1]
    assert dumps_call((inner,), {"x": inner}) is None
    assert dumps_call((inner,), {"x": [1]}) is not None


def with_metadata():
    return np.zeros(2, np.dtype("f8", metadata={"unit": "m"}))


@pytest.mark.parametrize(
    "value",
    [
        Dict(a=1), List([1]), collections.OrderedDict(a=1), collections.defaultdict(list),
        collections.Counter("a"), np.arange(3).view(Array), np.ma.masked_array([1]),
        np.rec.array([(1, 2.0)]), np.arange(6)[::2], np.arange(6).reshape(2, 3).T,
        np.asfortranarray(np.ones((2, 3))), np.broadcast_to(np.arange(2), (2, 2)),
        np.zeros(2, ">f8"), np.zeros(2, ">i2"), np.array(["a"]), np.array([b"a"]),
        np.array([None]), np.zeros(2, "M8[s]"), np.zeros(2, "m8[s]"), np.zeros(2, "longlong"),
        np.zeros(2, "ulonglong"), np.zeros(2, "longdouble"), np.zeros(2, [("a", "i4")]),
        with_metadata(), np.zeros(56), np.zeros((1, 1, 1, 1, 1)), [1] * 65,
        dict.fromkeys(range(65)), {(1, 2): 3}, {frozenset(): 1}, {np.int64(1): 2}, {2**70: 1},
        {"ä": 1}, ["ä"], [{} for _ in range(16)],
    ],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_other_values_are_left_to_pickle(value):
    assert dumps(value) is None
    assert dumps((1, [value])) is None
    assert dumps_call((), {"x": value}) is None


def test_arrays_near_the_size_limit_are_written_or_left_to_pickle():
    sizes = [n for n in range(600) if dumps(np.zeros(n, "u1")) is not None]
    assert sizes == list(range(len(sizes)))
    assert max(len(dumps(np.zeros(n, "u1"))) for n in sizes) <= 512
    longest = {"list": [0] * 8, "array": np.zeros(1, "u1"), "text": "a"}
    for n in range(255):
        longest["text"] = "a" * n
        longest["bytes"] = b"a" * 200
        data = dumps(longest)
        assert data is None or describe(loads(data)) == describe(longest)


def test_no_value_is_written_beyond_the_limit():
    """Every way to end close to the limit: the margin has space for all that is open."""
    for inner in (0, 300, 2**40, 1.5, None, "", (), [], {}):
        for n in range(1, 64):
            deep = [[[[[inner] * n]]]]
            for value in (deep, {"a": deep}, (("b" * (n * 4 % 256), deep),)):
                data = dumps(value)
                assert data is None or (len(data) <= 512 and loads(data) == value)


# ------------------------------------------------------------------ invalid bytes


@pytest.mark.parametrize(
    "code",
    [
        b"u", b"e", b"(u", b"(e", b"}u", b"]e", b"}(K\x01u", b"](K\x01u", b"}(K\x01K\x02e",
        b"}(]K\x01u", b"}(}K\x01u", b"K\x01(K\x02e", b"K\x01(K\x02K\x03u", b"](]((e", b"(}(u",
        b"}(K\x01K\x02uu", b"((e", b"}()K\x01u", b"(]t(K\x01e",
    ],
)  # fmt: skip
def test_opcodes_of_containers_are_read_as_by_pickle_or_refused(code):
    for data in (b"\x80\x04" + code + b".", b"\x80\x05" + code + b"0."):
        try:
            expected = pickle.loads(data)
        except Exception as error:
            with pytest.raises(type(error)):
                loads(data)
        else:
            assert describe(loads(data)) == describe(expected)


SAMPLE = dumps(np.arange(4, dtype="i4").reshape(2, 2))


@settings(deadline=None)
@given(st.integers(48, len(SAMPLE) - 1), st.integers(0, 255), st.integers(0, 4))
def test_changed_arrays_are_refused_or_read_as_by_pickle(place, byte, cut):
    data = bytearray(SAMPLE)
    data[place] = byte
    data = bytes(data[: len(data) - cut])
    if byte in b"ci\x93prBX\x8a\x8b\x8d\x8e\x96hjgqIJTU":  # may allocate gigabytes
        return
    try:
        expected = pickle.loads(data)
    except Exception as error:
        with pytest.raises(type(error)):
            loads(data)
    else:
        assert describe(loads(data)) == describe(expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((b"", 0, (), True), ValueError, "no data type"),
        ((b"", 300, (), True), ValueError, "no data type"),
        ((b"a", ord("q"), (1,), True), ValueError, "no data type"),
        ((b"a", ord("d"), (1,), True), ValueError, "8 bytes cannot be made of 1"),
        ((b"", ord("d"), (), True), ValueError, "8 bytes cannot be made of 0"),
        ((b"", ord("d"), (-1,), True), ValueError, "-1 items"),
        ((b"", ord("d"), (2**40,), True), ValueError, "items"),
        ((b"", ord("d"), (2**30,) * 4, True), ValueError, "cannot be made of 0"),
        ((b"", ord("d"), (0,) * 5, True), ValueError, "at most 4"),
        ((b"", ord("d"), ("a",), True), TypeError, "int"),
        ((None, ord("d"), (0,), True), TypeError, "data"),
        ((b"", ord("d"), None, True), TypeError, "shape"),
    ],
)
def test_wrong_arrays_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        array(*arguments)


def test_arrays_without_items_are_made_in_any_shape():
    made = array(b"", ord("d"), (0, 2**31 - 2, 3), False)
    assert made.shape == (0, 2**31 - 2, 3)
    assert not made.flags.writeable
