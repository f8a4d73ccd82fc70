"""`pool_cache` treats the copies of a node that jobs of other ranks receive as one node."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

from bsbpool import create_job_pool, pool_cache, pool_cached_function
from bsbpool.caching import CacheScope, Copies, cache_scope, free_items, token_of
from bsbpool.futures import PoolExecutor

evaluated: list[str] = []


class Layer:
    """A node that counts its evaluations, so that each one changes its state."""

    def __init__(self, name="layer", scale=1, **more):
        self.name, self.scale, self.count = name, scale, 0
        self.__dict__.update(more)

    def get_node_name(self):
        return self.name

    @pool_cache
    def density(self, factor=1):
        evaluated.append("density")
        self.count += 1
        return [self.scale * factor]

    @pool_cache
    def thickness(self):
        evaluated.append("thickness")
        return [self.scale + 100]


class Slotted(Layer):
    __slots__ = ()


class Compact:
    """A node without `__dict__` and without weak references."""

    __slots__ = ("scale",)

    def get_node_name(self):
        return "compact"

    @pool_cache
    def density(self):
        evaluated.append("density")
        return [self.scale]


@pool_cached_function
def of_layer(layer, factor=1):
    evaluated.append("of_layer")
    return [layer.scale * factor]


CACHES = [Layer.density, Layer.thickness, Compact.density, of_layer]


def clear():
    evaluated.clear()
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture(autouse=True)
def empty_caches():
    clear()
    yield
    clear()


@pytest.fixture
def owner():
    """The owner of a pool on a rank that runs jobs for main."""
    return Layer("owner")


@pytest.fixture(autouse=True)
def home(owner):
    """The cache of this rank for the items of the pool that it works for."""
    home = CacheScope()
    with cache_scope(home, Copies(owner)):
        yield home


def copy(obj):
    return pickle.loads(pickle.dumps(obj))


def kept():
    return sum(cached.cache_info().currsize for cached in CACHES)


def test_a_node_passed_to_40_jobs_is_evaluated_once():
    node = Layer(weights=np.arange(10_000.0), tags={"a", "b", "c"}, nested=[Layer("below")])
    results = [copy(node).density() for _ in range(40)]
    assert len(set(map(id, results))) == 1
    assert evaluated == ["density"]
    assert Layer.density.cache_info() == (39, 1, None, 1)


def test_each_method_and_each_arguments_are_evaluated_once():
    for _ in range(5):
        node = copy(Layer())
        assert (node.thickness(), node.density(), node.density(factor=3)) == ([101], [1], [3])
    assert evaluated.count("thickness") == 1
    # `density` changes its copy, so the second result of the first copy is not shared.
    assert evaluated.count("density") == 3


def test_different_nodes_of_one_name_share_no_result():
    class Other(Layer):
        @pool_cache
        def thickness(self):
            return "other"

    one, scaled, longer = Layer(), Layer(scale=2), Layer(weights=np.ones(3))
    for _ in range(3):
        assert copy(one).density() == [1]
        assert copy(scaled).density() == [2]
        assert copy(longer).density() == [1]
        assert Slotted().density() == [1]
        assert copy(Layer("other", scale=1)).density() == [1]
    assert len(evaluated) == 5
    assert (Other().thickness(), Layer().thickness()) == ("other", [101])


def test_a_node_that_a_job_changed_shares_no_result_with_other_copies():
    first = copy(Layer())
    first.density()
    first.scale = 50
    assert first.thickness() == [150]
    assert first.thickness() is first.thickness()  # the changed node itself is still cached
    assert copy(Layer()).thickness() == [101]
    changed_before = copy(Layer())
    changed_before.scale = 7
    assert changed_before.density() == [7]


def test_results_are_freed_with_their_item_and_copies_with_their_job(home):
    nodes = [copy(Layer(scale=scale)) for scale in (1, 1, 2)]
    for node in nodes:
        node.density()
    assert kept() == 2
    gone = [weakref.ref(node) for node in nodes]
    del node, nodes
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3
    free_items(home, [token_of(Layer.density.get_pool_cache_id(Layer()))])
    assert kept() == 0
    assert home._pool_cache == {}


def test_objects_that_cannot_be_compared_are_compared_by_identity(home):
    def locked():
        return Layer(lock=threading.Lock())  # as `__setstate__` would make it

    one, other = locked(), locked()
    assert one.density() is one.density()
    assert one.density() is not other.density()
    assert len(evaluated) == 2
    free_items(home, [token_of(Layer.density.get_pool_cache_id(Layer()))])
    assert kept() == 0


def test_nodes_may_have_lambdas_as_attributes():
    import cloudpickle

    text = cloudpickle.dumps(Layer(rule=lambda x: x + 1))
    assert pickle.loads(text).density() is pickle.loads(text).density()
    other = pickle.loads(cloudpickle.dumps(Layer(rule=lambda x: x + 2)))
    assert other.density() is not pickle.loads(text).density()


def test_nodes_without_weak_references():
    def made(scale):
        node = Compact()
        node.scale = scale
        return node

    assert copy(made(1)).density() is copy(made(1)).density()
    assert copy(made(2)).density() == [2]
    assert len(evaluated) == 2


def test_nodes_of_the_owner_are_compared_by_identity_and_not_pickled(owner):
    class Strict(Layer):
        def __reduce__(self):
            raise AssertionError("pickled")

    mine = Strict(scaffold=owner)
    assert mine.density() is mine.density()
    owner.layers = [Layer(parent=owner), Layer(parent=owner)]
    assert owner.layers[0].density() is not owner.layers[1].density()
    assert owner.layers[0].density() is owner.layers[0].density()


def test_a_scaffold_pickled_with_its_node_does_not_keep_the_results(home):
    class Scaffold:
        def __init__(self):
            self.registered = []

        def register_pool_cached_item(self, id, cleanup):
            self.registered.append(id)

    node = Layer(scaffold=Scaffold())
    node.density()
    id = Layer.density.get_pool_cache_id(node)
    assert node.scaffold.registered == [id]
    free_items(home, [token_of(id)])
    assert kept() == 0


def test_objects_as_arguments_of_cached_functions():
    node = Layer()
    results = [of_layer(copy(node), factor=2) for _ in range(10)]
    assert len(set(map(id, results))) == 1
    assert of_layer(copy(Layer(scale=3)), 2) == [6]
    assert of_layer(layer=copy(node), factor=2) is of_layer(layer=copy(node), factor=2)
    changed = copy(node)
    of_layer(changed, factor=5)
    changed.scale = 9
    assert of_layer(changed, factor=6) == [54]
    assert of_layer(copy(node), factor=6) == [6]
    with pytest.raises(TypeError, match="unhashable"):
        of_layer(copy(node), factor=[])


def test_a_pool_inside_a_job_sees_the_same_node():
    node = copy(Layer())
    first = node.density()
    with create_job_pool(quiet=True) as pool:
        again = pool.submit(lambda owner, layer: layer.density(), copy(Layer()))
        pool.execute()
        assert again.result is first
    assert copy(Layer()).density() is first


def test_an_executor_of_one_process_evaluates_once_and_frees():
    def use(layer):
        return len(layer.density()), evaluated.count("density"), kept()

    node = Layer()
    with PoolExecutor() as executor:
        assert [executor.submit(use, node).result() for _ in range(10)] == [(1, 1, 1)] * 10
        assert set(executor.map(use, [node] * 10)) == {(1, 1, 1)}
    assert kept() == 0
