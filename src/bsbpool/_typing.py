"""The names of `typing` for the modules that the first pool imports.

Importing `typing` takes as long as a short serial run, and nothing needs it at run time, since
annotations are not evaluated. Type checkers see the names of `typing`; at run time they are
substitutes, which `typing.get_type_hints` replaces by the types. Modules that are imported later
use `typing` itself.
"""

from __future__ import annotations

from types import GenericAlias

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any as Any
    from typing import ClassVar as ClassVar
    from typing import Generic as Generic
    from typing import Literal as Literal
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
    from typing import Self as Self
    from typing import TypeVar as TypeVar
    from typing import Unpack as Unpack
    from typing import overload as overload
else:
    Protocol = object

    class Generic:
        """A class whose subclasses can be subscripted with types."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)

    def TypeVar(name, **options):
        """Return a substitute for a type variable."""
        return object

    def overload(function):
        """Return the function, which its implementation replaces."""
        return function


class LazyType(str):
    """A type in annotations that is imported when `typing.get_type_hints` evaluates them.

    `get_type_hints` regards a string in place of a type as an expression to evaluate. The
    operators of annotations, ``|`` and ``[]``, import the type at once.

    Parameters
    ----------
    module, name : str
        Where the type is. If the module is not installed, `typing.Any` takes its place.
    """

    def __new__(cls, module: str, name: str) -> LazyType:
        """Make the expression, which imports the type."""
        expression = f"__import__({__name__!r}, fromlist=['']).import_type({module!r}, {name!r})"
        made = str.__new__(cls, expression)
        made._place = module, name
        return made

    _place: tuple[str, str]

    def __getitem__(self, parameters: Any) -> Any:
        if type(parameters) in (int, slice):
            return str.__getitem__(self, parameters)  # `typing` reads the expression
        return import_type(*self._place)[parameters]

    def __or__(self, other: Any) -> Any:
        return import_type(*self._place) | other

    def __ror__(self, other: Any) -> Any:
        return other | import_type(*self._place)


def import_type(module: str, name: str) -> Any:
    """Return the type `name` of a module; `typing.Any` if the module is not installed."""
    import importlib

    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        return import_type("typing", "Any")


if not TYPE_CHECKING:
    Any = LazyType("typing", "Any")
    ClassVar = LazyType("typing", "ClassVar")
    Literal = LazyType("typing", "Literal")
    NoReturn = LazyType("typing", "NoReturn")
    Self = LazyType("typing", "Self")
