"""Closures: workers keep their code, and each call sends the values of their variables.

To pickle a function by value takes tens of microseconds, most of it for its code. All functions
that one ``def`` statement makes share that code. So a worker gets a *template*: such a function
without values in its cells. A call then has the values of the cells and the default values, if
`scalar_codec` can write them, and the worker makes the function of them.

The template has everything that the pickle of such a function has: the name, annotations and so on,
and the globals that are sent with functions of the main script. It is replaced by another one when
a function differs in any of these, or when a global has changed.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from bsbpool._core.protocol import scalar_codec
from bsbpool.by_name import is_importable, main_is_shared
from bsbpool.serialization import dumps, loads

MOST_CODES = 1_024
MOST_TEMPLATES = 16
"""The number of templates of one code. Further functions are pickled with each call."""

_IMMUTABLE = frozenset([type(None), type(...), bool, int, float, complex, str, bytes])
_MISSING = object()
Variables = tuple[tuple[Any, ...], "tuple[Any, ...] | None", "dict[str, Any] | None"]


class Closures:
    """The templates of one run, on the main rank."""

    def __init__(self) -> None:
        # The entries keep the code alive, so that its id is not reused.
        self._entries: dict[int, _Entry] = {}

    def encode(
        self, f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Template, bytes] | None:
        """Return the template of a closure and its pickled call.

        None if it is no closure, or must be pickled as a whole.
        """
        if type(f) is not types.FunctionType or not f.__closure__:
            return None
        try:
            cells = tuple([cell.cell_contents for cell in f.__closure__])
        except ValueError:  # an empty cell
            return None
        payload = scalar_codec.dumps((args, kwargs, cells, f.__defaults__, f.__kwdefaults__))
        if payload is None:
            return None
        template = self._template_of(f)
        return None if template is None else (template, payload)

    def _template_of(self, f: types.FunctionType) -> Template | None:
        entry = self._entries.get(id(f.__code__))
        if entry is None:
            if len(self._entries) >= MOST_CODES:
                self._entries.clear()
            entry = self._entries[id(f.__code__)] = _Entry(f.__code__)
        if entry.template is not None and entry.template.fits(f):
            return entry.template
        if entry.n_templates == MOST_TEMPLATES:
            return None
        entry.n_templates += 1
        entry.template = make_template(f)
        return entry.template


class _Entry:
    __slots__ = ("code", "n_templates", "template")

    def __init__(self, code: types.CodeType) -> None:
        self.code = code
        self.n_templates = 0
        self.template: Template | None = None


def make_template(f: types.FunctionType) -> Template | None:
    """Return a template that fits a function; None if it must be pickled as a whole."""
    import cloudpickle

    from bsbpool import functions_by_value

    module = functions_by_value.module_of(f)
    if (
        module is None
        or "<locals>" not in f.__qualname__  # it may be pickled by name
        or f.__dict__  # also those of decorators that define how they are pickled
        or not all(map(_is_fixed, f.__annotations__.values()))
        or cloudpickle.list_registry_pickle_by_value()
    ):
        return None
    watch = Watch(f.__globals__)
    if module == "__main__" and not (main_is_shared() and watch.add_globals_of(f.__code__)):
        return None
    try:
        payload, buffers = dumps(_without_values(f))
    except Exception:  # then the function is pickled as a whole, which reports the error
        return None
    return None if buffers else Template(f, payload, watch)


def _without_values(f: types.FunctionType) -> types.FunctionType:
    cells = tuple(types.CellType() for _ in f.__code__.co_freevars)
    made = types.FunctionType(f.__code__, f.__globals__, f.__name__, None, cells)
    made.__qualname__, made.__module__, made.__doc__ = f.__qualname__, f.__module__, f.__doc__
    made.__annotations__ = f.__annotations__
    return made


class Template:
    """A function without the values of its variables.

    Parameters
    ----------
    f : function
        A function that the template fits.
    payload : bytes
        The pickle of the function without values.
    watch : Watch
        The globals that the pickle depends on.
    """

    def __init__(self, f: types.FunctionType, payload: bytes, watch: Watch) -> None:
        self._names = f.__name__, f.__qualname__, f.__module__
        self._doc = f.__doc__
        self._annotations = dict(f.__annotations__)
        self._payload = payload
        self._watch = watch
        watch.start()

    def fits(self, f: types.FunctionType) -> bool:
        """Whether a function with the same code differs only in the values of its variables."""
        return (
            f.__globals__ is self._watch.namespace
            and (f.__name__, f.__qualname__, f.__module__) == self._names
            and f.__doc__ is self._doc
            and not f.__dict__
            and _are_same(f.__annotations__, self._annotations)
            and self._watch.is_unchanged()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the function, and the names of the globals that come with it."""
        return ReceivedTemplate, (self._payload, self._watch.sent_names())


def _are_same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return len(a) == len(b) and all(a.get(name, _MISSING) is b[name] for name in b)


class ReceivedTemplate:
    """A template on a worker.

    Parameters
    ----------
    payload : bytes
        The pickle of the function without values.
    names : tuple of str
        The globals that come with it.
    """

    def __init__(self, payload: bytes, names: tuple[str, ...]) -> None:
        self._payload, self._names = payload, names
        self._function: types.FunctionType = loads(payload)
        self.__qualname__ = self._function.__qualname__  # for messages

    def function_of(self, variables: Variables) -> types.FunctionType:
        """Return a new function.

        Parameters
        ----------
        variables : tuple
            The values of the cells, the default values, and those of keyword-only parameters.
        """
        source = self._function
        if any(name not in source.__globals__ for name in self._names):  # a job deleted one
            source = loads(self._payload)
        cells, defaults, keyword_defaults = variables
        made = types.FunctionType(
            source.__code__,
            source.__globals__,
            source.__name__,
            defaults,
            tuple(map(types.CellType, cells)),
        )
        made.__qualname__, made.__module__ = source.__qualname__, source.__module__
        made.__doc__ = source.__doc__
        if source.__annotations__:
            made.__annotations__ = dict(source.__annotations__)
        if keyword_defaults is not None:
            made.__kwdefaults__ = keyword_defaults
        return made


# ------------------------------------------------------------------ globals


class Watch:
    """Notices changes of what the pickle of a function depends on, beside the function itself.

    With a function of the main script, the values of its globals are sent. Only such functions
    are watched whose globals, and those of the functions among them, are immutable.

    Parameters
    ----------
    namespace : dict
        The globals of the function.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self._values: dict[str, Any] = {}
        self._functions: list[tuple[types.FunctionType, tuple[Any, ...]]] = []
        self._n_modules = self._n_changes = -1

    def add_globals_of(self, code: types.CodeType) -> bool:
        """Watch the globals that a code refers to; return False if that is not possible."""
        from bsbpool.functions_by_value import global_names

        for name in global_names(code):
            if name in self._values:
                continue
            value = self._values[name] = self.namespace.get(name, _MISSING)
            if value is not _MISSING and not _is_fixed(value) and not self._add_function(value):
                return False
        return True

    def _add_function(self, value: Any) -> bool:
        if (
            type(value) is not types.FunctionType
            or value.__globals__ is not self.namespace
            or value.__closure__
            or value.__dict__
            or not all(map(_is_fixed, value.__defaults__ or ()))
            or not all(map(_is_fixed, (value.__kwdefaults__ or {}).values()))
            or not all(map(_is_fixed, value.__annotations__.values()))
        ):
            return False
        self._functions.append((value, _state_of(value)))
        return self.add_globals_of(value.__code__)

    def start(self) -> None:
        """Begin to watch."""
        from bsbpool.functions_by_value import sent_globals

        self._sent_globals = sent_globals
        self._n_changes, self._n_modules = sent_globals.n_changes, len(sys.modules)

    def is_unchanged(self) -> bool:
        """Whether nothing has changed since `start`."""
        # The pickle names the imported submodules of packages that the function uses.
        if len(sys.modules) != self._n_modules:
            return False
        if not self._values:
            return True
        # Workers may have got another value of a global meanwhile, with another function.
        if self._sent_globals.n_changes != self._n_changes:
            return False
        for name, value in self._values.items():
            if self.namespace.get(name, _MISSING) is not value:
                return False
        return all([_state_of(f) == state for f, state in self._functions])

    def sent_names(self) -> tuple[str, ...]:
        """Return the names of the globals that are sent with the function."""
        return tuple(name for name, value in self._values.items() if value is not _MISSING)


def _state_of(f: types.FunctionType) -> tuple[Any, ...]:
    keyword_defaults = tuple((f.__kwdefaults__ or {}).items())
    return id(f.__code__), f.__defaults__, keyword_defaults, bool(f.__dict__), bool(f.__closure__)


def _is_fixed(value: Any) -> bool:
    """Whether a value cannot change, or is pickled by a name that is not of the main script."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_is_fixed, value))
    if isinstance(value, types.ModuleType):
        name = getattr(value, "__name__", "__main__")
        return kind is types.ModuleType and name != "__main__" and sys.modules.get(name) is value
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type)):
        return getattr(value, "__module__", "__main__") != "__main__" and is_importable(value)
    return False
