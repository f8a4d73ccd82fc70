"""Functions that are pickled by value keep their file name and line numbers."""

from __future__ import annotations

import functools
import linecache
import traceback
import types

from bsbpool.exceptions import WorkerTraceback
from bsbpool.remote_errors import dump_error, load_error
from bsbpool.serialization import dumps, loads
from bsbpool.tracebacks import with_source

CELL = "def in_a_cell(x):\n    return 1 / x  # the cell's line\n"


def there_and_back(obj):
    payload, buffers = dumps(obj)
    return loads(payload, buffers)


def codes_of(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def places_of(function):
    return [
        (code.co_filename, code.co_name, code.co_qualname, code.co_firstlineno,
         list(code.co_positions()))
        for code in codes_of(function.__code__)
    ]  # fmt: skip


def test_code_keeps_its_file_and_lines() -> None:
    factor = 3

    def outer(x):
        def inner(y):
            return [z * factor for z in (x, y)]

        return inner

    class Local:
        def method(self):
            return lambda: factor

    for function in (outer, lambda: outer, Local.method):
        copy = there_and_back(function)
        assert copy is not function
        assert places_of(copy) == places_of(function)
        assert copy.__code__.co_filename == __file__
    copy = there_and_back(Local).method
    assert places_of(copy) == places_of(Local.method)


def test_code_that_is_pickled_again_is_the_same() -> None:
    copy = there_and_back(there_and_back(lambda x: [x for _ in range(x)]))
    assert {code.co_filename for code in codes_of(copy.__code__)} == {__file__}


def raised_by(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("it raises nothing")


def test_a_traceback_from_a_worker_shows_the_line() -> None:
    def divide(x):
        return 1 / x  # this line

    error = load_error(*dump_error(raised_by(there_and_back(divide), 0), 1, "divide"))
    assert isinstance(error.__cause__, WorkerTraceback)
    assert "return 1 / x  # this line" in error.__cause__.text


def test_main_adds_the_source_line_if_the_worker_cannot_read_the_file() -> None:
    name, names = "<cell 7>", {}
    exec(compile(CELL, name, "exec"), names)
    error = raised_by(names["in_a_cell"], 0)
    parcel = dump_error(error, 1, "in_a_cell")  # a worker does not have the source of the cell
    assert "the cell's line" not in "".join(traceback.format_exception(error))
    linecache.cache[name] = len(CELL), None, CELL.splitlines(keepends=True), name
    try:
        text = load_error(*parcel).__cause__.text
    finally:
        del linecache.cache[name]
    assert f'File "{name}", line 2, in in_a_cell\n    return 1 / x  # the cell\'s line\n' in text


def test_lines_are_added_only_where_they_are_missing() -> None:
    known = "".join(traceback.format_exception(raised_by(functools.partial(divmod, 1), 0)))
    assert with_source(known) == known
    group = ExceptionGroup("several", [raised_by(lambda: {}["x"])])
    known = "".join(traceback.format_exception(raised_by(there_and_back(raising), group)))
    assert with_source(known) == known
    bare = "\n".join(
        line for line in known.split("\n") if "raise " not in line and "{}[" not in line
    )
    # A line of carets below a source line is not itself a source line.
    bare = "\n".join(line for line in bare.split("\n") if set(line) - set(" |^~"))
    added = with_source(bare)
    assert "\n  |     raise error\n" in added
    assert '\n    |     group = ExceptionGroup("several", [raised_by(lambda: {}["x"])])\n' in added


def raising(error):
    raise error


def test_unknown_files_and_other_texts_are_unchanged() -> None:
    for text in (
        "", "\n", "no traceback", 'File "x"', '  File "<no>", line 3, in f\nError',
        '  File "nowhere", line 99999999999999999999, in f', "a\x0cb\u2028c\n",
    ):  # fmt: skip
        assert with_source(text) == text
