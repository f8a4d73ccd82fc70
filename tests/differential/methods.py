"""Methods and callable objects whose names or states are difficult to pickle."""

from __future__ import annotations

import functools
from typing import Any

from differential.errors import ToRaise
from differential.recipes import maker


def undressed(method: Any) -> Any:
    """Decorate a method without `functools.wraps`."""

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return "undressed", method(self, *args, **kwargs)

    return wrapper


class Machine:
    """Has methods whose names differ from those of their attributes."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.changes = 0

    def work(self, *args: Any, **kwargs: Any) -> Any:
        self.changes += 1
        return self.state, self.changes, len(args)

    def __private(self, *args: Any, **kwargs: Any) -> Any:
        return "private", self.state

    def private(self) -> Any:
        return self.__private

    @undressed
    def bare(self, *args: Any, **kwargs: Any) -> Any:
        return self.state

    anonymous = lambda self, *args, **kwargs: ("lambda", self.state)  # noqa: E731
    renamed = work

    @classmethod
    def of_class(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.__name__, len(args)

    @staticmethod
    def of_none(*args: Any, **kwargs: Any) -> Any:
        return "static", len(args)

    @functools.lru_cache  # noqa: B019
    def kept(self, *args: Any) -> Any:
        return "kept", len(args)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.work(*args, **kwargs)


class Unprintable(Machine):
    """A callable whose `repr`, `str` and `__qualname__` raise."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")

    def __getattr__(self, name: str) -> Any:
        if name in ("__qualname__", "__name__"):
            raise ZeroDivisionError("no name")
        raise AttributeError(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for arg in args:
            if isinstance(arg, ToRaise):
                raise arg.make([])
        return len(args)


def _local_machine() -> type:
    class LocalMachine:
        def __init__(self, state: Any) -> None:
            self.state = state
            self.changes = 0

        def work(self, *args: Any, **kwargs: Any) -> Any:
            self.changes += 1
            return self.state, self.changes

        def __private(self, *args: Any, **kwargs: Any) -> Any:
            return "private", self.state

        def private(self) -> Any:
            return self.__private

        @functools.cached_property
        def expensive(self) -> Any:
            return [self.state]

        @functools.lru_cache  # noqa: B019
        def kept(self, *args: Any) -> Any:
            return "kept", len(args)

        @staticmethod
        @functools.cache
        def static(*args: Any) -> Any:
            return "static", len(args)

        @functools.singledispatchmethod
        def dispatch(self, *args: Any) -> Any:
            return "else", len(args)

        @dispatch.register
        def _int(self, x: int, *args: Any) -> Any:
            return "int", x

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.expensive, self.static(1), self.dispatch(2)

    return LocalMachine


LocalMachine = _local_machine()


@maker("method")
def _method(n: int, parts: list[Any]) -> Any:
    m = next((part for part in parts if isinstance(part, Machine)), None)
    m = m or Machine(parts[0] if parts else n)
    made = [
        m.work, m.private(), m.bare, m.anonymous, m.renamed, m.of_class, m.of_none, m.kept, m,
        Machine.of_class, m.__call__,
    ]  # fmt: skip
    return made[n % len(made)]


@maker("machine")
def _machine(n: int, parts: list[Any]) -> Any:
    return Machine(parts[0] if parts else n)


@maker("unprintable")
def _unprintable(n: int, parts: list[Any]) -> Any:
    return Unprintable(n)


@maker("local method")
def _local_method(n: int, parts: list[Any]) -> Any:
    m: Any = LocalMachine(parts[0] if parts else n)
    made = [m.work, m.private(), m.kept, m.static, m.dispatch, m, LocalMachine]
    return made[n % len(made)]
