"""Only rank 0 reads the script of `python -m bsbpool.run`; workers have its lines nevertheless."""

from __future__ import annotations

import zipapp

import pytest

from helpers.launch import environment, mpirun

LIMIT = 60.0

NOTE_OPENS = '''
"""Notes which ranks open the script."""
import os
import sys


def note(event, args):
    if event == "open" and os.path.basename(str(args[0])) == "program.py":
        rank = os.environ.get("PMI_RANK") or os.environ.get("OMPI_COMM_WORLD_RANK")
        with os.fdopen(os.open(os.environ["OPENS"], os.O_WRONLY | os.O_APPEND), "w") as file:
            file.write(f"{rank}\\n")


sys.addaudithook(note)
'''

PROGRAM = '''
import inspect
import os
import sys
import traceback

from bsbpool.futures import PoolExecutor


class Point:
    def up(self):
        return "up"


def fails(x):
    raise ValueError(x)  # this line is in the traceback


def sources():
    main = sys.modules["__main__"]
    return inspect.getsource(fails), inspect.getsource(Point.up), main.__file__


def trace():
    try:
        fails(1)
    except ValueError:
        return traceback.format_exc()


if __name__ == "__main__":
    {before}
    with PoolExecutor() as executor:
        function, method, file = executor.submit(sources).result()
        assert function.startswith("def fails") and "this line" in function
        assert method.strip().endswith('return "up"')
        assert file == os.path.abspath(sys.argv[0]), file
        assert "# this line is in the traceback" in executor.submit(trace).result()
        try:
            executor.submit(fails, 2).result()
        except ValueError as error:
            assert "# this line is in the traceback" in traceback.format_exc()
    print("done")
'''


@pytest.mark.limit(LIMIT + 30)
def test_only_rank_0_opens_the_script(tmp_path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOTE_OPENS)
    (tmp_path / "program.py").write_text(PROGRAM.format(before="pass"))
    opens = tmp_path / "opens"
    opens.touch()
    path = f"{tmp_path}:{environment().get('PYTHONPATH', '')}"
    variables = {"PYTHONPATH": path, "OPENS": str(opens)}
    done = mpirun(
        4, "-m", "bsbpool.run", "program.py", timeout=LIMIT, cwd=tmp_path, env=variables
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout
    assert opens.read_text().split() == ["0"]


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("given", ["relative", "absolute"])
def test_workers_have_the_lines_of_a_script_that_is_gone(tmp_path, given) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(before="os.unlink(__file__)"))
    path = program if given == "absolute" else "program.py"
    done = mpirun(3, "-m", "bsbpool.run", path, timeout=LIMIT, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout
    assert not program.exists()


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_workers_have_the_lines_of_a_folder_or_an_archive(tmp_path, kind) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "__main__.py").write_text(PROGRAM.format(before="pass"))
    if kind == "archive":
        zipapp.create_archive(folder, tmp_path / "program.pyz")
    path = folder if kind == "folder" else tmp_path / "program.pyz"
    done = mpirun(3, "-m", "bsbpool.run", path, timeout=LIMIT, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout


@pytest.mark.limit(LIMIT + 30)
def test_a_syntax_error_is_reported_once(tmp_path) -> None:
    (tmp_path / "program.py").write_text("x = 1\nif x\n    pass\n")
    done = mpirun(3, "-m", "bsbpool.run", "program.py", timeout=LIMIT, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("SyntaxError") == 1 and "if x" in done.stdout, done.stdout


@pytest.mark.limit(LIMIT + 30)
def test_a_script_that_is_not_text_is_reported_once(tmp_path) -> None:
    (tmp_path / "program.py").write_bytes(b"# coding: utf-8\nx = '\xff'\n")
    done = mpirun(3, "-m", "bsbpool.run", "program.py", timeout=LIMIT, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("SyntaxError") == 1, done.stdout
