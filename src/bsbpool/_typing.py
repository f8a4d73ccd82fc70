"""The names of `typing` for the modules that the first pool imports.

Importing `typing` takes as long as a short serial run, and nothing needs it at run time, since
annotations are not evaluated. Type checkers see the names of `typing`; at run time they are
substitutes. Modules that are imported later use `typing` itself.
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
    from typing import overload as overload
else:
    Any = Protocol = object
    ClassVar = Literal = NoReturn = Self = None  # only in annotations

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
