"""Progress in real terminals: bars while jobs run, the true counts at the end, output in order."""

from __future__ import annotations

import re
import sys

import pytest

from helpers.terminal import IN_BACKGROUND, Terminal, python_in_terminal

pytestmark = pytest.mark.launches

PROGRAM = """
import os, sys, time
import bsbpool

def write(text):
    sys.stdout.write(text)  # at once, so that lines of several ranks are not mixed

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)

def simulate(owner, seed):
    if seed == 3:
        raise ValueError(f"seed {seed} is not allowed")

def wait(owner, path):
    write("the last job has begun\\n")
    wait_for(path)
    write("the last job ends\\n")

with bsbpool.create_job_pool(quiet="quiet" in sys.argv) as pool:
    if pool.is_main():
        jobs = pool.queue_many(simulate, [(n,) for n in range(10)])
        pool.queue(wait, (sys.argv[1],), deps=[j for j in jobs if j is not jobs[3]])
        pool.queue(wait, (sys.argv[1],), deps=[jobs[3]], submitter="never")
    try:
        pool.execute()
    except bsbpool.WorkflowError:
        pass
write("done\\n")
"""

RANKS = [1, 3]


@pytest.fixture
def program(tmp_path):
    """Return the path of the program, and that of the file for which its last job waits."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path, tmp_path / "go"


@pytest.mark.parametrize("ranks", RANKS)
def test_bars_and_then_a_summary(program, ranks):
    path, go = program
    with Terminal(python_in_terminal(ranks, path, go)) as terminal:
        text = terminal.until(lambda text: re.search(r"wait +━+ +0/1 .* 1 running", text))
        assert re.search(r"^simulate +━+ 10/10 100% .* 1 failed$", text, re.MULTILINE)
        assert re.search(r"^never +━+ +1/1 100% .* 1 cancelled$", text, re.MULTILINE)
        total = r"^all jobs +[━╸╺]+ 11/12 +92% .* 1 running, 1 failed, 1 cancelled$"
        assert re.search(total, text, re.MULTILINE)
        assert ("2 workers busy" in text) == (ranks == 3)
        go.touch()
        text = terminal.end()
    lines = text.splitlines()
    where = "" if ranks == 1 else r" on rank [12]"
    failure = rf"job 3 'simulate\(3\)' failed{where}: ValueError: seed 3 is not allowed"
    assert len([line for line in lines if re.fullmatch(failure, line)]) == 1
    frame = "    program.py:14 in simulate: raise ValueError("
    assert any(line.startswith(frame) for line in lines)
    for line in ("the last job has begun", "the last job ends"):
        assert lines.count(line) == 1
    summary = r"bsbpool: 10/12 jobs succeeded, 1 failed, 1 cancelled in .*"
    assert len([line for line in lines if re.fullmatch(summary, line)]) == 1
    assert "  simulate  9/10 jobs succeeded, 1 failed" in lines
    assert "━" not in text, "the bars are gone"
    assert lines.count("done") == ranks
    assert b"0x" not in terminal.received, "an address"


@pytest.mark.parametrize("ranks", RANKS)
def test_counts_after_ctrl_c(program, ranks):
    path, go = program
    with Terminal(python_in_terminal(ranks, path, go)) as terminal:
        terminal.until(lambda text: re.search(r"wait +━+ +0/1 .* 1 running", text))
        terminal.type("\x03")
        text = terminal.until(lambda text: " aborted in " in text)
    assert "bsbpool: 9/12 jobs succeeded, 1 failed, 1 cancelled, 1 aborted in" in text


@pytest.mark.parametrize("ranks", RANKS)
def test_quiet(program, ranks):
    path, go = program
    go.touch()
    with Terminal(python_in_terminal(ranks, path, go, "quiet")) as terminal:
        lines = terminal.end().splitlines()
    assert sorted({line for line in lines if line}) == [
        "done",
        "the last job ends",
        "the last job has begun",
    ]
    assert b"\x1b" not in terminal.received


@pytest.mark.parametrize("where", ["stderr-in-a-file", "in-the-background", "dumb"])
def test_lines_where_bars_could_disturb(program, tmp_path, where):
    path, go = program
    go.touch()
    command, log, env = python_in_terminal(3, path, go), tmp_path / "log", {}
    if where == "stderr-in-a-file":
        command = ["sh", "-c", f'"$@" 2> "{log}"', "sh", *command]
    elif where == "in-the-background":
        command = [sys.executable, "-c", IN_BACKGROUND, *command]
    else:
        env = {"TERM": "dumb"}
    with Terminal(command, env) as terminal:
        text = terminal.end()
    if where == "stderr-in-a-file":
        assert "bsbpool" not in text
        text = log.read_text()
    assert "bsbpool: 10/12 jobs succeeded, 1 failed, 1 cancelled in" in text
    assert "bsbpool: job 3 'simulate(3)' failed on rank" in text
    assert b"\x1b" not in terminal.received


def test_other_output_goes_to_its_own_file(program, tmp_path):
    """Bars are drawn on standard error; what goes to a file does not change."""
    path, go = program
    out = tmp_path / "out"
    command = ["sh", "-c", f'"$@" > "{out}"', "sh", *python_in_terminal(1, path, go)]
    with Terminal(command) as terminal:
        terminal.until(lambda text: re.search(r"wait +━+ +0/1 .* 1 running", text))
        go.touch()
        assert "bsbpool: 10/12 jobs succeeded" in terminal.end()
    assert out.read_text() == "the last job has begun\nthe last job ends\ndone\n"


def test_a_narrow_and_low_terminal(program):
    path, go = program
    with Terminal(python_in_terminal(3, path, go), rows=9, columns=44) as terminal:
        text = terminal.until(lambda text: re.search(r"^all jobs +[━╸╺]+ 11/12$", text, re.M))
        assert max(map(len, text.splitlines())) <= 44
        go.touch()
        assert "bsbpool: 10/12 jobs succeeded" in terminal.end()


FORKS = """
import os, sys, time
import bsbpool

def fork(owner):
    print("parent", flush=True)
    child = os.fork()
    if child == 0:
        print("child", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.01)

with bsbpool.create_job_pool() as pool:
    pool.queue_many(fork, [()] * 40)
    pool.execute()
"""


def test_forked_children_can_print(tmp_path):
    """A thread may hold the lock of the screen when a job forks."""
    path = tmp_path / "program.py"
    path.write_text(FORKS)
    with Terminal(python_in_terminal(1, path)) as terminal:
        lines = terminal.end().splitlines()
    assert any(line.startswith("bsbpool: 40/40 jobs succeeded in") for line in lines)
    assert sum("parent" in line for line in lines) == 40
    assert terminal.received.count(b"child") == 40


LOGS = """
import logging, sys, time
import bsbpool
logging.basicConfig()
early = sys.stderr.write

def work(owner, n):
    time.sleep(0.02)
    if n % 10 == 0:
        logging.warning("logged %d", n)
        early(f"written {n}\\n")
        print(*(f"line {n}.{k}" for k in range(8)), sep="\\n")

with bsbpool.create_job_pool() as pool:
    pool.queue_many(work, [(n,) for n in range(100)])
    pool.execute()
"""


def test_no_output_is_lost(tmp_path):
    """Also that of streams that were looked up before."""
    path = tmp_path / "program.py"
    path.write_text(LOGS)
    with Terminal(python_in_terminal(1, path)) as terminal:
        lines = terminal.end().splitlines()
    for n in range(0, 100, 10):
        assert any(line.startswith(f"WARNING:root:logged {n}") for line in lines)
        assert any(line.startswith(f"written {n}") for line in lines)
        assert [line for line in lines if line.startswith(f"line {n}.")] == [
            f"line {n}.{k}" for k in range(8)
        ]
    assert "━" not in "\n".join(lines)


EXECUTOR = """
import os, sys, time
from bsbpool.futures import PoolExecutor

def write(text):
    sys.stdout.write(text)

def square(n):
    if n == 5:
        raise ValueError("five")
    return n * n

def wait(path):
    while not os.path.exists(path):
        time.sleep(0.01)

with PoolExecutor(progress=True) as executor:
    if executor is not None:
        write(f"{sum(executor.map(square, range(5)))}\\n")
        write(f"{sum(executor.map(square, iter([6, 7]), buffersize=1))}\\n")
        write(f"{type(executor.submit(square, 5).exception()).__name__}\\n")
        executor.submit(wait, sys.argv[1]).result()
"""


@pytest.mark.parametrize("ranks", RANKS)
def test_calls_and_maps_of_an_executor(tmp_path, ranks):
    path, go = tmp_path / "program.py", tmp_path / "go"
    path.write_text(EXECUTOR)
    with Terminal(python_in_terminal(ranks, path, go)) as terminal:
        text = terminal.until(lambda text: re.search(r"wait +━+ +0/1 ", text))
        assert re.search(r"square +━+ 8/8 100% .* 1 failed", text)
        go.touch()
        lines = terminal.end().splitlines()
    printed = ["30", "85", "ValueError"]
    assert [line for line in lines if line in printed] == printed
    failure = rf"square\(\) failed on rank {0 if ranks == 1 else '[12]'}: ValueError: five"
    assert any(re.fullmatch(failure, line) for line in lines)
    assert any(line.startswith("bsbpool: 8/9 jobs succeeded, 1 failed in") for line in lines)
