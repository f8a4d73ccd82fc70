"""Pickling of the errors that jobs raise on workers.

An error is rebuilt without a call of its class, since a class with its own ``__init__`` may raise,
or make another error, when it is called with the `args` of the error. The builtin base class makes
the new instance, which then gets the state of the original: `args`, the fields of builtin classes
(such as `OSError.errno`), slots, attributes, notes, and the chained errors. If a class defines how
it is pickled, that way is tried first.
"""

from __future__ import annotations

import copyreg
import functools
import types
from collections.abc import Iterator, Sequence
from typing import Any

from bsbpool.exceptions import RemoteError, WorkerTraceback
from bsbpool.process import Terminated
from bsbpool.serialization import Parcel, dump_with, dumps, loads

LARGEST_OBJECT = 64 * 1024
"""Maximum pickled size in bytes of `AttributeError.obj`.

The interpreter sets `obj` to the object that lacks the attribute. A larger object, or one that
cannot be pickled, is left out."""

_WAYS = ((True, True), (True, False), (False, False))
"""Values of `custom` and `extra` in the order in which they are tried.

`custom`: whether to use the pickling methods that classes define. `extra`: whether to include the
chained errors and `AttributeError.obj`, which the interpreter sets."""

_GENERAL = (BaseException, object)


def dump_error(error: BaseException, rank: int, job: str) -> Parcel:
    """Pickle an error together with the text of its traceback.

    An error that cannot be pickled is replaced by a `RemoteError` with its type and message.
    """
    cause = WorkerTraceback(rank, job, _safe_text(error))
    for custom, extra in _WAYS:
        try:
            parcel = dump_with(functools.partial(_pickler(), custom, extra), (error, cause))
            if isinstance(loads(*parcel)[0], BaseException):  # loading may fail as well
                return parcel
        except Terminated:
            raise
        except BaseException:  # pickling runs code of the error's class
            continue
    return dumps((RemoteError(f"{type(error).__qualname__}: {_safe_str(error)}"), cause))


def load_error(payload: Any, buffers: Sequence[Any] = (), job: str = "") -> BaseException:
    """Load an error from the pickle that `dump_error` returned.

    Its ``__cause__`` is a `WorkerTraceback`. An earlier cause becomes the ``__context__`` of the
    `WorkerTraceback`; the text of the traceback includes it.

    Parameters
    ----------
    payload, buffers
        The pickle.
    job : str, optional
        The text of the job in full. It takes the place of the worker's text, which may lack the
        arguments, in the traceback and in the message of a result that cannot be pickled.
    """
    from bsbpool.tracebacks import with_source  # workers do not need it

    error: BaseException
    error, cause = loads(payload, buffers)
    text = with_source(cause.text)
    if job:
        text = _renamed(text, cause.job, job)
        _rename_in_messages(error, cause.job, job)
    cause = WorkerTraceback(cause.rank, job or cause.job, text)
    cause.__context__ = error.__cause__
    cause.__suppress_context__ = True
    error.__cause__ = cause
    return error


def _renamed(text: str, short: str, job: str) -> str:
    """Return a text with the full text of the job in the explanation that its worker gave."""
    return text.replace(f"return value of {short} cannot be", f"return value of {job} cannot be")


def _rename_in_messages(error: BaseException, short: str, job: str) -> None:
    args = _args.__get__(error)
    if len(args) == 1 and type(args[0]) is str and short in args[0]:
        _args.__set__(error, (_renamed(args[0], short, job),))
    notes = object.__getattribute__(error, "__dict__").get("__notes__")
    if type(notes) is list:
        notes[:] = [_renamed(note, short, job) if type(note) is str else note for note in notes]


@functools.cache
def _pickler() -> Any:
    from bsbpool.functions_by_value import Pickler

    class ErrorPickler(Pickler):
        def __init__(self, custom: bool, extra: bool, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._how = custom, extra

        def reducer_override(self, obj: Any) -> Any:
            # Not `isinstance`, which believes the `__class__` of an object.
            if issubclass(type(obj), BaseException) and type(obj) is not WorkerTraceback:
                return _reduce(obj, *self._how)
            return super().reducer_override(obj)

    return ErrorPickler


# Pickling


def _reduce(error: BaseException, custom: bool, extra: bool) -> Any:
    chain = _chain_of(error) if extra else None
    reduced = _reduce_by_class(error) if custom else None
    if reduced is None:
        state = _args.__get__(error), list(_fields(error, extra)), _state_of(error, custom), chain
        return _new, _new_arguments(error, custom), (custom, *state), None, None, _restore
    if not isinstance(reduced, tuple) or any(part is not None for part in reduced[3:5]):
        return reduced
    function, arguments, state, _, _, set_state = reduced + (None,) * (6 - len(reduced))
    notes = getattr(error, "__notes__", None)
    return function, arguments, (state, set_state, notes, chain), None, None, _restore_by_class


def _reduce_by_class(error: BaseException) -> Any:
    """Return the reduced value that the class defines; None if it inherits from `BaseException`."""
    kind = type(error)
    registered = copyreg.dispatch_table.get(kind)
    # tblib and others register one reducer for all errors, which ignores this class.
    if registered is not None and registered is not copyreg.dispatch_table.get(Exception):
        return registered(error)
    if (
        _defines(kind, "__reduce_ex__")
        or _defines(kind, "__reduce__")
        or _creator(kind).__module__ != "builtins"  # C types may have fields that Python cannot set
    ):
        return error.__reduce_ex__(5)
    return None


def _defines(kind: type, name: str) -> bool:
    """Whether a class or a base that is not builtin defines a method."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return owner.__module__ != "builtins"


def _creator(kind: type) -> type:
    """Return the class written in C whose `__new__` creates the instances of a class."""
    while not isinstance(vars(kind).get("__new__"), types.BuiltinFunctionType):
        assert kind.__base__ is not None
        kind = kind.__base__
    return kind


def _new_arguments(error: BaseException, custom: bool) -> tuple[Any, ...]:
    """Return the arguments of `_new`."""
    kind = type(error)
    if custom and _defines(kind, "__getnewargs_ex__"):
        arguments, keywords = error.__getnewargs_ex__()  # type: ignore[attr-defined]
        return kind, True, arguments, keywords
    if custom and _defines(kind, "__getnewargs__"):
        return kind, True, error.__getnewargs__()  # type: ignore[attr-defined]
    if isinstance(error, BaseExceptionGroup):
        return kind, False, (error.message, list(error.exceptions))
    return kind, False


def _fields(error: BaseException, extra: bool) -> Iterator[tuple[str, str, Any]]:
    """Yield class, name and value of the slots of an error and the fields of its builtin bases."""
    for owner in type(error).__mro__:
        for name, descriptor in () if owner in _GENERAL else vars(owner).items():
            if not _is_field(descriptor) or name in ("__dict__", "__weakref__"):
                continue
            try:
                value = descriptor.__get__(error)
            except AttributeError:  # an empty slot
                continue
            if owner is not AttributeError or name != "obj" or (extra and _is_small(value)):
                yield owner.__qualname__, name, value


def _is_field(descriptor: Any) -> bool:
    return isinstance(descriptor, (types.MemberDescriptorType, types.GetSetDescriptorType))


def _is_small(obj: Any) -> bool:
    from bsbpool.functions_by_value import fits

    return obj is None or fits(obj, LARGEST_OBJECT)


def _state_of(error: BaseException, custom: bool) -> Any:
    if custom and _defines(type(error), "__getstate__"):
        return error.__getstate__()  # type: ignore[attr-defined, unused-ignore]
    return dict(error.__dict__)


def _chain_of(error: BaseException) -> tuple[Any, ...] | None:
    chain = error.__cause__, error.__context__, error.__suppress_context__
    return None if chain == (None, None, False) else chain


# Unpickling


def _new(
    kind: type[BaseException],
    by_class: bool,
    arguments: Sequence[Any] = (),
    keywords: dict[str, Any] | None = None,
) -> Any:
    return (kind if by_class else _creator(kind)).__new__(kind, *arguments, **(keywords or {}))


def _restore(error: BaseException, whole: tuple[Any, ...]) -> None:
    """Restore the contents of an error that `_new` made."""
    custom, args, fields, state, chain = whole
    _args.__set__(error, args)
    for owner, name, value in fields:
        _set_field(error, owner, name, value)
    if custom and (_defines(type(error), "__setstate__") or not isinstance(state, dict)):
        error.__setstate__(state)
    else:
        error.__dict__.update(state)
    _restore_chain(error, chain)


def _set_field(error: BaseException, owner: str, name: str, value: Any) -> None:
    descriptor = next(vars(base)[name] for base in type(error).__mro__
                      if base.__qualname__ == owner and name in vars(base))  # fmt: skip
    try:
        if descriptor.__get__(error) is value:
            return  # setting a field, even to its own value, may change how the error is printed
    except AttributeError:
        pass
    if isinstance(error, BaseExceptionGroup) and name in ("message", "exceptions"):
        return  # read-only; `_new` set them
    descriptor.__set__(error, value)


def _restore_by_class(obj: Any, whole: tuple[Any, ...]) -> None:
    """Restore the state as pickle does, then the notes and the chained errors."""
    state, set_state, notes, chain = whole
    if set_state is not None:
        set_state(obj, state)
    elif state is not None:
        obj.__setstate__(state)
    if notes and not hasattr(obj, "__notes__"):
        obj.__notes__ = notes
    _restore_chain(obj, chain)


def _restore_chain(error: BaseException, chain: tuple[Any, ...] | None) -> None:
    if chain is not None:
        error.__cause__, error.__context__, error.__suppress_context__ = chain


_args: Any = vars(BaseException)["args"]


# Text


def _safe_text(error: BaseException) -> str:
    import traceback  # imports several modules, which workers without errors do not need

    try:
        return "".join(traceback.format_exception(error))
    except Terminated:
        raise
    except BaseException:
        return "".join(traceback.format_tb(error.__traceback__))


def _safe_str(error: BaseException) -> str:
    try:
        return str(error)
    except Terminated:
        raise
    except BaseException as broken:
        return f"<its str() raised {type(broken).__name__}>"
