"""Errors of a worker always reach main, unchanged where possible, else as a replacement."""

from __future__ import annotations

import threading
import traceback

import pytest

from bsbpool import JobPoolError, WorkerTraceback
from bsbpool.exceptions import RemoteError
from bsbpool.remote_errors import dump_error, load_error


class TwoArguments(Exception):
    """Cannot be made again from its `args`, which have one item."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.first, self.second = first, second


class KeywordOnly(Exception):
    def __init__(self, *, code):
        super().__init__()
        self.code = code


class Formatting(Exception):
    """Can be made again from its `args`, but differs then."""

    def __init__(self, name):
        super().__init__(f"no {name}")
        self.name = name


class Locked(Exception):
    """Holds an object that cannot be pickled."""

    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class Unlocking(Locked):
    """Holds an object that cannot be pickled, but defines how it is pickled itself."""

    def __reduce__(self):
        return type(self), self.args


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("has no text")


class MuteAndLocked(Mute):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Vicious(Exception):
    """Raises whenever it is pickled."""

    def __reduce_ex__(self, protocol):
        raise ZeroDivisionError

    def __getattribute__(self, name):
        if name == "__dict__":
            raise ZeroDivisionError
        return super().__getattribute__(name)


def raised(error, cause=None):
    """Return the error with a traceback of this function."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def transfer(error):
    """Return an error as main receives it."""
    payload, buffers = dump_error(raised(error), 3, "job 7, place")
    return load_error(payload, [bytearray(buffer) for buffer in buffers])


class TestUnchanged:
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("no", 3),
            KeyError("key"),
            OSError(2, "No such file", "name"),
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
            StopIteration(5),
            SystemExit(3),
            KeyboardInterrupt(),
            AssertionError(),
            JobPoolError("pool"),
            TwoArguments(1, 2),
            KeywordOnly(code=5),
            Formatting("x"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_type_arguments_and_attributes(self, error):
        copy = transfer(error)
        assert type(copy) is type(error)
        assert copy.args == error.args
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)

    def test_the_members_of_a_group(self):
        copy = transfer(ExceptionGroup("several", [TwoArguments(1, 2), ValueError(3)]))
        assert type(copy) is ExceptionGroup
        assert [type(error) for error in copy.exceptions] == [TwoArguments, ValueError]
        assert copy.exceptions[0].second == 2

    def test_notes(self):
        error = ValueError("no")
        error.add_note("a hint")
        assert transfer(error).__notes__ == ["a hint"]

    def test_a_user_defined_reduce(self):
        copy = transfer(Unlocking("x"))
        assert type(copy) is Unlocking
        assert copy.args == ("x",)

    def test_an_array_among_the_arguments(self):
        np = pytest.importorskip("numpy")
        copy = transfer(ValueError(np.arange(100_000)))
        assert np.array_equal(copy.args[0], np.arange(100_000))

    def test_a_class_inside_a_function(self):
        class Local(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a}{b}")
                self.b = b

        copy = transfer(Local(1, 2))
        assert (type(copy).__name__, str(copy), copy.b) == ("Local", "12", 2)


class TestCause:
    def test_has_rank_job_and_line(self):
        cause = transfer(ValueError("no")).__cause__
        assert isinstance(cause, WorkerTraceback)
        assert (cause.rank, cause.job) == (3, "job 7, place")
        assert "raise error from cause" in cause.text
        assert str(cause) == "on rank 3, in job 7, place"
        printed = "".join(traceback.format_exception(cause))
        assert "on rank 3, in job 7, place\nTraceback" in printed
        assert printed.rstrip().endswith("ValueError: no")

    def test_has_the_causes_on_the_worker(self):
        error = raised(ValueError("outer"), raised(KeyError("inner")))
        cause = load_error(*dump_error(error, 1, "job")).__cause__
        assert "KeyError: 'inner'" in cause.text
        assert "direct cause" in cause.text

    def test_has_the_notes_of_the_worker(self):
        error = ValueError("no")
        error.add_note("a hint")
        assert "a hint" in transfer(error).__cause__.text


class TestReplacement:
    @pytest.mark.parametrize("kind", [Mute, MuteAndLocked])
    def test_of_an_error_without_a_text(self, kind):
        copy = transfer(kind())
        assert isinstance(copy, Mute | RemoteError)
        assert kind.__name__ in copy.__cause__.text

    def test_of_an_unpicklable_error_has_its_type_and_text(self):
        copy = transfer(Locked("stuck"))
        assert isinstance(copy, RemoteError)
        assert "Locked: stuck" in str(copy)
        assert "Locked: stuck" in copy.__cause__.text
        assert copy.__cause__.rank == 3

    def test_of_an_error_that_raises_when_pickled(self):
        copy = transfer(Vicious("resists"))
        assert isinstance(copy, RemoteError)
        assert "Vicious" in str(copy)

    def test_of_a_group_with_an_unpicklable_error(self):
        copy = transfer(ExceptionGroup("several", [Locked("stuck"), ValueError(3)]))
        assert isinstance(copy, RemoteError | ExceptionGroup)
        assert "Locked: stuck" in copy.__cause__.text
