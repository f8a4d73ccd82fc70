"""Classes that are pickled by value keep slots, caches and functools' descriptors."""

from __future__ import annotations

import abc
import dataclasses
import enum
import functools
import os
import pickle
import subprocess
import sys
import threading
import typing

import pytest

from bsbpool.serialization import dumps, loads

OTHER_PROCESS = """
import pickle, sys
from bsbpool.serialization import dumps, loads
arrived = pickle.load(sys.stdin.buffer)
for parcel in arrived:
    make = loads(parcel)
    payload, buffers = dumps(make())
    sys.stdout.buffer.write(len(payload).to_bytes(8, "little") + payload)
"""


def elsewhere(*functions):
    """Call functions in another process; return their results."""
    parcels = [dumps(function)[0] for function in functions]
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS],
        input=pickle.dumps(parcels),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # it imports this module
    )
    assert done.returncode == 0, done.stderr.decode()
    results, rest = [], done.stdout
    while rest:
        end = 8 + int.from_bytes(rest[:8], "little")
        results.append(loads(rest[8:end]))
        rest = rest[end:]
    return results


class Base:
    """A class with a name and slots."""

    __slots__ = ("base",)


def slotted_classes():
    class Plain:
        __slots__ = ("__private", "x")

        def __init__(self, x):
            self.x, self.__private = x, x + 1

        def content(self):
            return self.x, self.__private

    class OneSlot:
        __slots__ = "x"

        def __init__(self, x):
            self.x = x

        def content(self):
            return self.x

    class Documented:
        __slots__ = {"x": "the content"}

        def __init__(self, x):
            self.x = x

        def content(self):
            return self.x

    class Derived(Plain):
        __slots__ = ("y",)

        def __init__(self, x):
            super().__init__(x)
            self.y = x + 2

        def content(self):
            return super().content(), self.y

    class OfNamedBase(Base):
        __slots__ = ("__weakref__", "x")

        def __init__(self, x):
            self.x = self.base = x

        def content(self):
            return self.x, self.base

    class WithDict(Plain):
        def __init__(self, x):
            super().__init__(x)
            self.free = x

        def content(self):
            return super().content(), vars(self)

    class WithDictSlot:
        __slots__ = ("__dict__", "x")

        def __init__(self, x):
            self.x = self.free = x

        def content(self):
            return self.x, self.free

    @dataclasses.dataclass(slots=True)
    class Data:
        x: int
        rest: list = dataclasses.field(default_factory=list)

        def content(self):
            return self.x, self.rest

    @dataclasses.dataclass(slots=True, frozen=True, weakref_slot=True)
    class Frozen:
        x: int
        y: int = 5

        def content(self):
            return self.x, self.y

    class Generic(typing.Generic[typing.TypeVar("T")]):
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

        def content(self):
            return self.x

    class Abstract(abc.ABC):
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

        @abc.abstractmethod
        def content(self): ...

    class Concrete(Abstract):
        __slots__ = ()

        def content(self):
            return self.x

    return [
        Plain, OneSlot, Documented, Derived, OfNamedBase, WithDict, WithDictSlot, Data, Frozen,
        Generic, Concrete,
    ]  # fmt: skip


def test_objects_with_slots_come_back_from_another_process() -> None:
    classes = slotted_classes()
    made = elsewhere(*(functools.partial(kind, 3) for kind in classes))
    for kind, instance in zip(classes, made, strict=True):
        assert type(instance) is kind
        assert instance.content() == kind(3).content()


def test_slots_are_slots_in_the_other_process() -> None:
    def probe(kind):
        instance = kind(3)
        try:
            instance.unheard_of = 1
        except AttributeError:
            return kind.__name__, False, instance.content()
        return kind.__name__, True, instance.content()

    classes = [kind for kind in slotted_classes() if kind.__name__ != "Frozen"]
    assert elsewhere(*(functools.partial(probe, kind) for kind in classes)) == [
        probe(kind) for kind in classes
    ]


def test_a_class_that_only_the_other_process_defines_is_returned() -> None:
    def make():
        @dataclasses.dataclass(slots=True)
        class Result:
            x: int
            text: str = "text"

        return Result(4)

    (result,) = elsewhere(make)
    assert dataclasses.asdict(result) == {"x": 4, "text": "text"}
    assert not hasattr(result, "__dict__")


def class_with_caches():
    class Cached:
        made = 0

        def __init__(self, x):
            self.x = x

        @functools.lru_cache(maxsize=7, typed=True)  # noqa: B019
        def method(self, y):
            return "method", self.x + y

        @staticmethod
        @functools.cache
        def static(y):
            return "static", y

        @classmethod
        @functools.cache
        def of_class(cls, y):
            return "class", cls.__name__, y

        @functools.cached_property
        def once(self):
            """Return how often the value was computed."""
            type(self).made += 1
            return "once", self.x, type(self).made

        @functools.singledispatchmethod
        def dispatched(self, arg):
            return "anything", arg

        @dispatched.register
        def _(self, arg: int):
            return "int", self.x + arg

        @dispatched.register(list)
        @dispatched.register(tuple)
        def _(self, arg):
            return "sequence", [self.dispatched(part) for part in arg]

        @functools.singledispatchmethod
        @classmethod
        def dispatched_of_class(cls, arg):
            return "anything", cls.__name__

        @dispatched_of_class.register
        @classmethod
        def _(cls, arg: int):
            return "int", cls.__name__, arg

        part = functools.partialmethod(method, 4)

        @property
        def described(self):
            return f"{self.x} of {__class__.__name__}"

    return Cached


def use_caches(kind):
    cached = kind(3)
    return [
        cached.method(1), cached.method(1), kind.method.cache_parameters(),
        kind.method.cache_info().hits,
        kind.static(2), kind.static(2), kind.static.cache_info().hits,
        kind.of_class(3), cached.of_class(3),
        cached.once, cached.once, kind.__dict__["once"].__doc__,
        cached.dispatched("x"), cached.dispatched(1), cached.dispatched([1, (2, "y")]),
        kind.dispatched_of_class(1), kind.dispatched_of_class("x"),
        cached.part(), cached.described, kind.method.__name__, kind.method.__doc__,
    ]  # fmt: skip


def test_methods_decorated_by_functools_are_pickled() -> None:
    wanted = use_caches(class_with_caches())
    (dispatched,) = elsewhere(functools.partial(use_caches, class_with_caches()))
    assert dispatched == wanted


def test_caches_are_empty_in_the_other_process() -> None:
    kind = class_with_caches()
    kind.static(2)
    (info,) = elsewhere(lambda: (kind.static(2), kind.static.cache_info())[1])
    assert (info.hits, info.misses) == (0, 1)
    assert kind.static.cache_info().misses == 1


def test_cached_and_dispatching_functions_are_pickled() -> None:
    @functools.cache
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    fibonacci.note = "mine"

    @functools.singledispatch
    def show(arg):
        """Show it."""
        return "anything"

    @show.register
    def _(arg: int):
        return "int"

    @show.register(list)
    def _(arg):
        return [show(part) for part in arg]

    (dispatched,) = elsewhere(
        lambda: (fibonacci(30), fibonacci.note, fibonacci.__name__,
                 show([1, "x", [2]]), show.__doc__, show.__name__)
    )  # fmt: skip
    assert dispatched == (
        832040,
        "mine",
        "fibonacci",
        ["int", "anything", ["int"]],
        "Show it.",
        "show",
    )


def test_other_kinds_of_local_classes_are_pickled() -> None:
    class Colour(enum.Enum):
        RED = 1

        def shown(self):
            return self.name.lower()

    class Pair(typing.NamedTuple):
        x: int
        y: int = 2

    class Counted:
        count: typing.ClassVar[int] = 0

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.label = cls.kind.upper()

    class Kind(Counted):
        __slots__ = ("x",)
        kind = "kind"

    def make():
        return Colour.RED, Colour.RED.shown(), Pair(1), Kind.label, Kind

    ((colour, shown, pair, label, kind),) = elsewhere(make)
    assert (colour, shown, pair, label, kind) == (Colour.RED, "red", Pair(1), "KIND", Kind)
    assert type(pair) is Pair


def test_a_class_that_returns_is_the_original_and_keeps_its_attributes() -> None:
    class Counter:
        count = 0

        def up(self):
            Counter.count += 1
            return self

    up = Counter.up
    (made,) = elsewhere(lambda: Counter().up())
    assert type(made) is Counter
    assert (Counter.count, Counter.up) == (0, up)


def test_a_class_attribute_that_cannot_be_pickled_is_an_error() -> None:
    class Local:
        lock = threading.Lock()

    with pytest.raises(TypeError, match="lock"):
        dumps(Local)
