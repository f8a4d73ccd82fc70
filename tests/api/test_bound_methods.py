"""Bound methods are pickled correctly, whatever their `__name__` is."""

from __future__ import annotations

import collections
import functools
import pickle
import types

import pytest

from bsbpool.serialization import dumps, loads


def there_and_back(obj):
    payload, buffers = dumps(obj)
    return loads(payload, buffers)


def unwrapped(method):
    def wrapper(self, *args):
        return "wrapped", method(self, *args)

    return wrapper


class Methods:
    """Methods whose `__name__` differs from the name of the attribute."""

    def __init__(self, x=3):
        self.x = x

    def __work(self, y=0):
        return "private", self.x + y

    @classmethod
    def __make(cls, y=0):
        return "class", cls.__name__, y

    def private(self):
        return self.__work

    @classmethod
    def private_of_the_class(cls):
        return cls.__make

    @unwrapped
    def decorated(self, y=0):
        return self.x + y

    @unwrapped
    def wrapper(self, y=0):
        return "the attribute named wrapper"

    by_lambda = lambda self, y=0: ("lambda", self.x + y)  # noqa: E731
    alias = private_of_the_class
    partial = functools.partialmethod(decorated, 5)

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def cached(self, y=0):
        return "cached", self.x + y

    def overridden(self):
        return "base", self.x

    def shadowed(self):
        return "class", self.x


class Derived(Methods):
    """Overrides methods of its base, which `super` still reaches."""

    def overridden(self):
        return "derived", self.x

    def of_the_base(self):
        return super().overridden


class Table(dict):
    """Overrides methods of a builtin type."""

    def get(self, key):
        return "derived"

    def __contains__(self, key):
        return "derived"

    def of_the_base(self):
        return super().get, super().__contains__, super().__len__


def free(self, y=0):
    return "free", self.x + y


def shadowing():
    methods = Methods()
    methods.shadowed = "an attribute of the instance"
    return types.MethodType(Methods.shadowed, methods)


METHODS = {
    "private": Methods().private(),
    "private of the class": Methods.private_of_the_class(),
    "decorated": Methods().decorated,
    "named like another": Methods().wrapper,
    "lambda": Methods().by_lambda,
    "alias": Methods.alias,
    "partial": Methods().partial,
    "cached": Methods().cached,
    "of the base": Derived().of_the_base(),
    "of the derived class": Derived().overridden,
    "shadowed": shadowing(),
    "free": types.MethodType(free, Methods()),
    "by value": types.MethodType(lambda self: ("by value", self.x), Methods()),
    "of a partial": types.MethodType(functools.partial(free, y=2), Methods()),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_whose_name_differs_from_its_attribute_is_pickled(name) -> None:
    method = METHODS[name]
    wanted = method()
    for make in (
        lambda: there_and_back(method)(),
        lambda: there_and_back(functools.partial(method))(),
        lambda: there_and_back([1, {"here": method}])[1]["here"](),
        lambda: there_and_back((method, lambda: None))[0](),  # with objects pickled by value
    ):
        assert make() == wanted


def test_a_method_of_a_local_class_is_pickled() -> None:
    class Local:
        def __hidden(self):
            return "hidden"

        @unwrapped
        def decorated(self):
            return "decorated"

        by_lambda = lambda self: "lambda"  # noqa: E731

        def all(self):
            return self.__hidden, self.decorated, self.by_lambda

    methods = there_and_back(Local().all())
    assert [method() for method in methods] == ["hidden", ("wrapped", "decorated"), "lambda"]


def test_a_method_of_a_builtin_type_is_not_taken_from_a_subclass() -> None:
    get, contains, length = there_and_back(Table(a=1).of_the_base())
    assert (get("a"), contains("a"), length()) == (1, True, 1)
    assert there_and_back(Table(a=1).get)("a") == "derived"


@pytest.mark.parametrize(
    "method",
    [{1: 2}.get, {1}.__contains__, [3].index, collections.deque([1]).popleft, "ab".upper,
     (5).__add__, dict.fromkeys, int.from_bytes, [].__len__, len, object.__new__, type.mro],
    ids=lambda method: method.__name__,
)  # fmt: skip
def test_methods_of_builtin_types_are_unchanged(method) -> None:
    copy = there_and_back(method)
    assert (type(copy), copy.__name__) == (type(method), method.__name__)
    owner = getattr(method, "__self__", None)
    assert getattr(copy, "__self__", None) == owner


def test_an_object_with_its_own_method_as_an_attribute() -> None:
    methods = Methods(4)
    methods.callback = methods.private()
    copy = there_and_back(methods)
    assert copy.callback() == ("private", 4)
    assert copy.callback.__self__ is copy


def test_an_object_whose_attribute_lookup_raises_is_pickled() -> None:
    class Strange(Methods):
        def __getattribute__(self, name):
            if name in ("overridden", "__name__"):
                raise RuntimeError(name)
            return super().__getattribute__(name)

    method = types.MethodType(Methods.overridden, Strange())
    assert there_and_back(method)() == ("base", 3)


def test_plain_objects_are_pickled_once(monkeypatch) -> None:
    def refuse(*args):
        raise AssertionError

    monkeypatch.setattr("bsbpool.serialization.dump_with", refuse)
    obj = [Methods, Methods(), {"a": (1, 2.5)}, free]
    assert dumps(obj)[0] == pickle.dumps(obj, 5)
