"""Errors of all builtin types and their subclasses are transferred with all their content."""

from __future__ import annotations

import asyncio
import builtins
import copyreg
import json
import subprocess
import sys
import threading
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbpool.exceptions import RemoteError, WorkerTraceback
from bsbpool.remote_errors import dump_error, load_error

GROUPS = (BaseExceptionGroup, ExceptionGroup)
ARGUMENTS = {
    UnicodeDecodeError: ("utf-8", b"\xff\xfe", 0, 1, "invalid"),
    UnicodeEncodeError: ("ascii", "\xe9t\xe9", 0, 1, "not ASCII"),
    UnicodeTranslateError: ("\xe9t\xe9", 1, 2, "no"),
    SyntaxError: ("bad", ("file.py", 3, 5, "x = =", 3, 6)),
    IndentationError: ("bad", ("file.py", 3, 5, " x", 3, 6)),
    TabError: ("bad", ("file.py", 3, 5, "\tx", 3, 6)),
    BaseExceptionGroup: ("all", [KeyError({"k": 1}), KeyboardInterrupt()]),
    ExceptionGroup: ("some", [KeyError("k"), ExceptionGroup("more", [OSError(2, "no", "f")])]),
    StopIteration: ({"value"},),
    SystemExit: (3,),
}
BUILTIN = sorted(
    {kind for kind in vars(builtins).values() if isinstance(kind, type)
     and issubclass(kind, BaseException)} - {BaseExceptionGroup} | {asyncio.CancelledError},
    key=lambda kind: kind.__name__,
)  # fmt: skip


def arguments_of(kind):
    if issubclass(kind, OSError):
        return (2, "No such file", "here", None, "there")
    return ARGUMENTS.get(kind, ("message", {"a": 1}))


def attributes_of(kind):
    """Return keyword arguments that fill the fields of a builtin class."""
    if issubclass(kind, ImportError):
        return {"name": "package", "path": "/a/path"}
    if issubclass(kind, AttributeError):
        return {"name": "color", "obj": {"an": "object"}}
    return {"name": "color"} if issubclass(kind, NameError) else {}


def arrived(error):
    """Return an error of a worker as the main rank receives it."""
    payload, buffers = dump_error(error, 3, "job 7")
    return load_error(payload, [bytearray(buffer) for buffer in buffers])


def content(error):
    """Return the whole content of an error in a form that can be compared."""
    fields = {}
    for kind in type(error).__mro__[:-1]:
        for name, value in vars(kind).items():
            if hasattr(value, "__set__") and not name.startswith("__"):
                fields[kind.__name__, name] = getattr(error, name, "(empty)")
    return repr((type(error), error.args, str(error), vars(error), fields))


def subclasses_of(kind):
    """Yield an error of a builtin class, and errors of several of its subclasses."""
    args, fields = arguments_of(kind), attributes_of(kind)

    class WithInit(kind):
        def __init__(self, *, given, **keywords):
            super().__init__(*given, **keywords)
            self.given = {str(given[0])}

        if issubclass(kind, GROUPS):  # these need their arguments in `__new__`

            def __new__(cls, *, given):
                return super().__new__(cls, *given)

    class WithNew(kind):
        def __new__(cls, code, given, keywords):
            error = super().__new__(cls, *given, **({} if kind in GROUPS else keywords))
            error.code_of_class = code
            return error

        def __init__(self, code, given, keywords):
            super().__init__(*given, **keywords)

    class WithSlots(kind):
        __slots__ = ("__hidden", "empty", "shown")

        def __init__(self, *given, **keywords):
            super().__init__(*given, **keywords)
            self.shown, self.__hidden = [1, 2], None

    yield kind(*args, **fields)
    yield WithInit(given=args, **fields)
    yield WithNew("code", args, fields)
    if not issubclass(kind, GROUPS):
        WithSlots.__name__ = WithSlots.__qualname__ = f"Slots{kind.__name__}"
        setattr(sys.modules[__name__], WithSlots.__name__, WithSlots)
        WithSlots.__module__ = __name__
        yield WithSlots(*args, **fields)


@pytest.mark.parametrize("kind", [*BUILTIN, BaseExceptionGroup], ids=lambda kind: kind.__name__)
def test_builtin_errors_and_their_subclasses_are_transferred_unchanged(kind):
    for error in subclasses_of(kind):
        copy = arrived(error)
        assert content(copy).replace(".<locals>", "") == content(error).replace(".<locals>", "")
        assert isinstance(copy.__cause__, WorkerTraceback)
        assert content(arrived(copy)) == content(copy)  # and once more, from rank to rank


class Equal:
    """An object that equals everything and whose pickle has no content."""

    def __init__(self, age):
        self.age = age

    def __eq__(self, other):
        raise RuntimeError("asked for equality")

    __hash__ = None

    def __repr__(self):
        return f"Equal({self.age!r})"


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
              st.builds(Equal, st.just("age"))),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner),
                            st.tuples(inner, inner)),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from([k for k in BUILTIN if k not in ARGUMENTS and not issubclass(k, OSError)]),
    args=st.lists(VALUES, max_size=4),
    names=st.sets(st.text(max_size=3), max_size=8),
    attributes=st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES),
)
def test_arguments_of_any_kind_keep_the_type_of_an_error(kind, args, names, attributes):
    error = kind(*args, names)
    vars(error).update(attributes)
    copy = arrived(error)
    assert type(copy) is kind
    assert copy.args[-1] == names
    assert repr((copy.args[:-1], vars(copy))) == repr((error.args[:-1], vars(error)))


def test_a_set_and_a_shared_name_in_the_arguments_keep_the_type():
    assert type(arrived(KeyError(set("abcdefgh")))) is KeyError
    assert type(arrived(ValueError("age", Equal("age")))) is ValueError


def test_arrays_and_frames_in_the_arguments_keep_the_type():
    np = pytest.importorskip("numpy")
    grid = np.arange(90_000.0).reshape(300, 300)
    for array in (grid.T, grid[::2, ::3], np.asfortranarray(grid), grid[::-1]):
        copy = arrived(ValueError("shape", array))
        assert type(copy) is ValueError
        assert np.array_equal(copy.args[1], array)


class HasReduce(Exception):
    def __init__(self, code, secret=None):
        super().__init__(f"code {code}")
        self.code, self.secret = code, secret

    def __reduce__(self):
        return type(self), (self.code,)


class HasState(Exception):
    def __init__(self, *, lock):
        super().__init__("locked")
        self.lock = lock

    def __getstate__(self):
        return {"lock": "was here"}

    def __setstate__(self, state):
        self.restored = state["lock"]


class HasNewArguments(Exception):
    def __new__(cls, code, made=()):
        error = super().__new__(cls)
        error.made = [*made, code]
        return error

    def __init__(self, *args):
        super().__init__("made")

    def __getnewargs__(self):
        return 5, ("again",)

    def __getstate__(self):
        return {}


class Registered(Exception):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


def test_a_class_may_define_how_its_errors_are_pickled():
    error = HasReduce(4, secret=threading.Lock())
    error.add_note("a hint")
    copy = arrived(error)
    assert (type(copy), copy.code, copy.secret, copy.__notes__) == (HasReduce, 4, None, ["a hint"])
    assert arrived(HasState(lock=threading.Lock())).restored == "was here"
    assert arrived(HasNewArguments(1)).made == ["again", 5]
    assert arrived(json.JSONDecodeError("no", "{", 1)).pos == 1
    copyreg.pickle(Registered, lambda error: (Registered, ("registered", error.b)))
    try:
        assert arrived(Registered("a", [2])).args == ("registered",)
    finally:
        del copyreg.dispatch_table[Registered]


def test_errors_of_the_standard_library_keep_their_attributes():
    copy = arrived(subprocess.CalledProcessError(3, ["cmd"], output=b"out"))
    assert (copy.returncode, copy.cmd, copy.output) == (3, ["cmd"], b"out")


def test_chained_errors_inside_an_error_are_transferred():
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as caught:
        second = caught
    second.__cause__.__context__ = OSError(2, "no", "file")
    member = arrived(ExceptionGroup("group", [second])).exceptions[0]
    assert repr(member.__cause__) == "KeyError('first')"
    assert member.__cause__.__context__.filename == "file"
    assert member.__suppress_context__
    own = arrived(second)
    assert repr(own.__cause__.__context__) == "KeyError('first')"
    assert "".join(traceback.format_exception(own)).count("KeyError: 'first'") == 1


def test_chained_errors_that_cannot_be_pickled_do_not_affect_the_rest():
    class Unmade(Exception):
        def __init__(self):
            self.lock = threading.Lock()

    error = KeyError("key")
    error.__context__ = Unmade()
    copy = arrived(error)
    assert (type(copy), copy.args, copy.__context__) == (KeyError, ("key",), None)
    assert type(arrived(Unmade())) is RemoteError


@pytest.mark.parametrize("obj", [threading.Lock(), bytes(1 << 20)], ids=["lock", "large"])
def test_an_attribute_error_drops_a_large_or_unpicklable_object(obj):
    with pytest.raises(AttributeError) as caught:
        _ = obj.color
    payload, _ = dump_error(caught.value, 1, "job")
    copy = load_error(payload)
    assert (type(copy), copy.name, copy.obj) == (AttributeError, "color", None)
    assert len(payload) < 4_096


def test_an_error_that_refers_to_itself_is_transferred():
    error = ValueError("self")
    error.me = [error]
    error.__context__ = KeyError(error)
    copy = arrived(error)
    assert copy.me[0] is copy
    assert copy.__context__.args[0] is copy


def test_errors_whose_text_or_pickling_exits_arrive_as_text():
    class Ending(Exception):
        def __str__(self):
            raise SystemExit("str")

        def __reduce__(self):
            raise SystemExit("reduce")

    copy = arrived(Ending("x"))
    assert type(copy).__name__ == "Ending"
    assert copy.args == ("x",)


def test_worker_tracebacks_stay_inside_the_bars_of_exception_groups(capfd):
    from bsbpool.exceptions import JobErroredError, WorkflowError

    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        copies = [arrived(error), arrived(ExceptionGroup("inner", [error]))]
    failures = []
    for copy in copies:
        failure = JobErroredError("job failed", copy)
        failure.__cause__ = copy
        failures.append(failure)
    error = WorkflowError("Your workflow encountered errors.", failures)
    printed = "".join(traceback.format_exception(error))
    sys.__excepthook__(WorkflowError, error, None)  # other code in C before Python 3.13
    for text in (printed, capfd.readouterr().err):
        assert text.count("on rank 3, in job 7") == 2
        assert text.count('raise ValueError("two\\nlines")') >= 2
        lines = [line for line in text.splitlines() if line != "lines"]
        assert all(line.lstrip().startswith(("+", "|")) for line in lines), text
