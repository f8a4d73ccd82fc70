"""Pickling: by reference if an object can be imported, else by value; buffers out of band."""

from __future__ import annotations

import collections
import functools
import pickle
import pickletools
import threading

import numpy as np
import pytest

from bsbpool.by_name import is_importable
from bsbpool.serialization import MOST_BUFFERS, OUT_OF_BAND, dumps, loads

from .support import give, nothing


class Point:
    """A class that can be found by its name."""

    def __init__(self, x):
        self.x = x

    def doubled(self, owner):
        return 2 * self.x

    class Inner:
        pass


def there_and_back(obj):
    payload, buffers = dumps(obj)
    # After a transfer, the buffers are in other memory.
    return loads(payload, [bytearray(buffer) for buffer in buffers])


def globals_in(payload):
    """Return the names that a pickle refers to."""
    strings = []
    for op, arg, _ in pickletools.genops(payload):
        if isinstance(arg, str):
            strings.append(arg)
        if op.name == "GLOBAL":
            strings.extend(arg.split(" "))
    return strings


class TestByReference:
    @pytest.mark.parametrize(
        "obj", [nothing, Point, Point.Inner, len, dict.fromkeys, np.mean, collections.OrderedDict]
    )
    def test_importable_objects(self, obj):
        payload, buffers = dumps(obj)
        assert len(payload) < 120
        assert buffers == []
        assert loads(payload) == obj

    def test_an_importable_function_next_to_a_lambda(self):
        payload, _ = dumps((lambda: None, nothing))
        assert "nothing" in globals_in(payload)
        assert b"Do nothing." not in payload
        assert loads(payload)[1] is nothing

    def test_functions_that_a_lambda_calls(self):
        payload, _ = dumps(lambda: give(None, 3))
        assert b"Return the argument." not in payload
        assert loads(payload)() == 3

    def test_is_importable(self):
        assert is_importable(nothing)
        assert is_importable(Point.Inner)
        assert not is_importable(lambda: None)
        assert not is_importable(functools.partial(nothing))
        assert not is_importable(3)

    def test_a_name_that_was_rebound_is_not_a_reference(self, monkeypatch):
        def nothing(owner):
            return "another"

        nothing.__qualname__ = "nothing"
        nothing.__module__ = Point.__module__
        assert not is_importable(nothing)
        assert there_and_back(nothing)(None) == "another"


class TestByValue:
    def test_lambdas_and_closures(self):
        factor = 3

        def times(x):
            return factor * x

        assert there_and_back(times)(2) == 6
        assert there_and_back(lambda x: times(x) + 1)(2) == 7

    def test_recursive_functions(self):
        def factorial(n):
            return n * factorial(n - 1) if n else 1

        assert there_and_back(factorial)(5) == 120

    def test_local_classes_and_their_instances(self):
        class Local:
            def __init__(self, x):
                self.x = x

            def __eq__(self, other):
                return self.x == other.x

            __hash__ = None

        kind, instance = there_and_back((Local, Local(3)))
        assert kind(3) == instance
        assert type(instance) is kind

    def test_partials_and_bound_methods(self):
        assert there_and_back(functools.partial(give, value=3))(None) == 3
        assert there_and_back(Point(4).doubled)(None) == 8

    def test_a_lambda_with_a_large_array(self):
        array = np.arange(100_000)
        payload, buffers = dumps(lambda: array)
        assert len(payload) < 10_000
        assert [buffer.nbytes for buffer in buffers] == [array.nbytes]
        assert np.array_equal(there_and_back(lambda: array)(), array)

    def test_an_object_that_cannot_be_pickled_is_an_error(self):
        lock = threading.Lock()
        for obj in (lock, lambda: lock, iter(x for x in "a")):
            with pytest.raises((TypeError, pickle.PicklingError)):
                dumps(obj)


class TestBuffers:
    @pytest.mark.parametrize("size", [0, 1, OUT_OF_BAND - 1, OUT_OF_BAND, OUT_OF_BAND + 1, 1 << 20])
    def test_are_out_of_band_from_32_kib_on(self, size):
        array = np.arange(size, dtype=np.uint8)
        payload, buffers = dumps(array)
        assert [buffer.nbytes for buffer in buffers] == ([size] if size >= OUT_OF_BAND else [])
        assert len(payload) < 1_000 or size < OUT_OF_BAND
        assert np.array_equal(there_and_back(array), array)

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(90_000).reshape(300, 300)[::2, ::3],
            np.arange(90_000)[::-1],
            np.asfortranarray(np.arange(90_000.0).reshape(300, 300)),
            np.arange(90_000).reshape(300, 300).T,
            np.zeros((0, 5)),
            np.array(3.5),
            np.broadcast_to(np.arange(5), (20_000, 5)),
            np.zeros(10_000, dtype=[("a", "i4"), ("b", "f8")]),
            np.array([{"a": 1}, None, "text"] * 10_000, dtype=object),
            np.array(["text"] * 20_000),
        ],
        ids=["strided", "reversed", "fortran", "transposed", "empty", "scalar", "broadcast",
             "records", "objects", "strings"],
    )  # fmt: skip
    def test_of_arrays_of_all_sorts(self, array):
        copy = there_and_back(array)
        assert copy.dtype == array.dtype
        assert copy.shape == array.shape
        assert np.array_equal(copy, array)

    def test_are_not_copied(self):
        array = np.zeros(1 << 20, dtype=np.uint8)
        _, (buffer,) = dumps(array)
        array[5] = 7
        assert buffer[5] == 7

    def test_are_flat_bytes(self):
        for array in (np.zeros((100, 100)), np.asfortranarray(np.ones((100, 100)))):
            _, (buffer,) = dumps(array)
            assert (buffer.ndim, buffer.itemsize, buffer.contiguous) == (1, 1, True)

    def test_are_writable_on_the_other_side(self):
        copy = there_and_back(np.zeros(1 << 16))
        copy[0] = 1
        assert copy[0] == 1

    def test_of_an_array_that_occurs_twice_are_sent_once(self):
        array = np.zeros(1 << 16)
        _, buffers = dumps([array, array])
        assert len(buffers) == 1
        first, second = there_and_back([array, array])
        assert first is second

    def test_of_very_many_arrays(self):
        arrays = [np.full(OUT_OF_BAND, n % 256, dtype=np.uint8) for n in range(MOST_BUFFERS + 50)]
        _, buffers = dumps(arrays)
        assert len(buffers) == MOST_BUFFERS
        copies = there_and_back(arrays)
        assert all(np.array_equal(*pair) for pair in zip(arrays, copies, strict=True))

    def test_of_plain_bytes(self):
        for obj in (b"x" * (1 << 20), bytearray(b"y" * (1 << 20)), "z" * (1 << 20)):
            copy = there_and_back(obj)
            assert copy == obj
            assert type(copy) is type(obj)
