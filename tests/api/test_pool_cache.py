"""`pool_cache` and `pool_cached_function`: the cached values and their ids."""

from __future__ import annotations

import pickle
import threading
import time
import zlib

import pytest

from bsbpool import pool_cache, pool_cached_function
from bsbpool.caching import CacheId, get_node_cache_items
from bsbpool.services.pool import _cache_hash

from .support import Node

TWINS = ("plumless", "buckeroo")
"""Two strings with the same CRC-32."""


class Layer(Node):
    """A node with two cached methods; `evaluated` records their evaluations."""

    def __init__(self, name="layer"):
        super().__init__(name)
        self.evaluated = []

    @pool_cache
    def density(self, scale=1):
        """Return the density of the layer."""
        self.evaluated.append(("density", scale))
        return object()

    @pool_cache
    def thickness(self):
        self.evaluated.append("thickness")
        return object()

    def plain(self):
        return 1

    @property
    def dangerous(self):
        raise AssertionError("looked at a property")


@pytest.fixture(autouse=True)
def empty_caches():
    yield
    Layer.density.cache_clear()
    Layer.thickness.cache_clear()


class TestMethods:
    def test_are_evaluated_once(self):
        layer = Layer()
        assert layer.density() is layer.density()
        assert layer.evaluated == [("density", 1)]

    def test_per_arguments(self):
        layer = Layer()
        values = [layer.density(), layer.density(2), layer.density(scale=3), layer.density(2)]
        assert len(set(values)) == 3
        assert layer.evaluated == [("density", 1), ("density", 2), ("density", 3)]

    def test_per_node_and_not_per_class(self):
        one, other = Layer("one"), Layer("other")
        assert one.density() is not other.density()
        assert one.density() is one.density()
        assert len(one.evaluated) == len(other.evaluated) == 1

    def test_per_node_of_nodes_with_one_name(self):
        assert Layer().density() is not Layer().density()

    def test_per_node_of_equal_nodes_without_a_hash(self):
        class Same(Layer):
            def __eq__(self, other):
                return True

            __hash__ = None

        one, other = Same(), Same()
        assert one.density() is not other.density()

    def test_keep_name_and_documentation(self):
        assert Layer.density.__name__ == "density"
        assert Layer.density.__doc__ == "Return the density of the layer."
        assert Layer.density.__wrapped__.__name__ == "density"

    def test_cache_info_is_that_of_functools(self):
        layer = Layer()
        for scale in (1, 2, 1, 1):
            layer.density(scale)
        info = Layer.density.cache_info()
        assert info == (2, 2, None, 2)
        assert (info.hits, info.misses, info.maxsize, info.currsize) == info
        Layer.density.cache_clear()
        assert Layer.density.cache_info() == (0, 0, None, 0)
        layer.density()
        assert len(layer.evaluated) == 3

    def test_do_not_keep_an_error(self):
        class FailsOnce(Node):
            attempts = 0

            @pool_cache
            def value(self):
                self.attempts += 1
                if self.attempts == 1:
                    raise ValueError
                return self.attempts

        node = FailsOnce()
        with pytest.raises(ValueError):
            node.value()
        assert node.value() == node.value() == 2

    def test_can_use_each_other(self):
        class Deep(Node):
            @pool_cache
            def depth(self, n):
                return self.depth(n - 1) + 1 if n else 0

        assert Deep().depth(50) == 50

    def test_need_a_node(self):
        class Thing:
            @pool_cache
            def value(self):
                return 1

        with pytest.raises(RuntimeError, match="Pool caching can only be used on methods of @node"):
            Thing().value()
        with pytest.raises(RuntimeError, match="Thing"):
            Thing.value.get_pool_cache_id(Thing())

    def test_are_evaluated_once_also_by_many_threads(self):
        class Slow(Node):
            evaluated = 0

            @pool_cache
            def value(self):
                time.sleep(0.05)
                self.evaluated += 1
                return 1

        slow = Slow()
        threads = [threading.Thread(target=slow.value) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert slow.evaluated == 1


class TestFunctions:
    def test_are_evaluated_once_per_arguments(self):
        calls = []

        @pool_cached_function
        def table(n, start=0):
            """Make a table."""
            calls.append(n)
            return list(range(start, n))

        assert table(3) is table(3)
        assert table(4) == [0, 1, 2, 3]
        assert table(4, start=2) == [2, 3]
        assert calls == [3, 4, 4]
        assert table.cache_info() == (1, 3, None, 3)
        assert (table.__name__, table.__doc__) == ("table", "Make a table.")
        table.cache_clear()
        table(3)
        assert calls == [3, 4, 4, 3]

    def test_have_distinct_ids(self):
        def make():
            @pool_cached_function
            def first():
                return 1

            @pool_cached_function
            def second():
                return 2

            return first, second

        first, second = make()
        assert first.pool_cache_id != second.pool_cache_id


class TestIds:
    def test_are_crc32_numbers(self):
        number = zlib.crc32(b"layer.density")
        assert Layer.density.get_pool_cache_id(Layer()) == number
        assert hash(CacheId("layer.density")) == hash(number)
        assert _cache_hash("layer.density") == number
        assert number in {CacheId("layer.density")}
        assert f"{CacheId('layer.density'):d}" == str(number)

    def test_of_colliding_names_are_distinct(self):
        assert len({zlib.crc32(name.encode()) for name in TWINS}) == 1
        one, other = map(CacheId, TWINS)
        assert int(one) == int(other)
        assert one != other
        assert len({one, other}) == 2
        nodes = [Layer.density.get_pool_cache_id(Layer(name)) for name in TWINS]
        assert int(nodes[0]) == int(nodes[1])
        assert nodes[0] != nodes[1]

    def test_are_the_same_on_all_ranks(self):
        one = CacheId("layer.density")
        copy = pickle.loads(pickle.dumps(one))
        assert copy == one
        assert copy != CacheId("layer.thickness")
        assert [pickle.loads(pickle.dumps(CacheId(name))) for name in TWINS] == list(
            map(CacheId, TWINS)
        )

    def test_of_a_node_are_those_of_its_methods_in_the_order_of_dir(self):
        assert get_node_cache_items(Layer()) == [
            zlib.crc32(b"layer.density"),
            zlib.crc32(b"layer.thickness"),
        ]

    def test_of_a_subclass_include_the_inherited_ones(self):
        class Special(Layer):
            @pool_cache
            def colour(self):
                return "red"

        names = [b"layer.colour", b"layer.density", b"layer.thickness"]
        assert get_node_cache_items(Special()) == [zlib.crc32(name) for name in names]

    def test_of_an_object_without_cached_methods_are_empty(self):
        assert get_node_cache_items(Node()) == []
