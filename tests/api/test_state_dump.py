"""The signal that makes ranks print where they are."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from bsbpool import state_dump
from helpers.launch import mpirun

HOST = os.uname().nodename

SIMULATE = """\
import os, signal, sys, time
from pathlib import Path

import bsbpool
from bsbpool import services, state_dump


class Node:
    def get_node_name(self):
        return "granule"


def simulate(owner, folder, seed):
    time.sleep(0.3)
    signal.raise_signal(state_dump.installed())  # this rank prints its state
    Path(folder, str(seed)).touch()
    while not Path(folder, "end").exists():
        time.sleep(0.01)


folder = sys.argv[1]
# A file for each rank: the launcher may mix the lines of several.
os.dup2(os.open(Path(folder, f"rank{services.MPI.get_rank()}"), os.O_WRONLY | os.O_CREAT), 2)


def look(record):
    end = Path(folder, "end")
    if not end.exists() and all(Path(folder, str(seed)).exists() for seed in (1, 2)):
        signal.raise_signal(state_dump.installed())
        end.touch()


with bsbpool.create_job_pool(quiet=True) as pool:
    if pool.is_main():
        pool.add_listener(look, max_wait=0.05)
        for seed in (1, 2):
            pool.queue(simulate, (folder,), {"seed": seed}, submitter=Node())
    pool.execute()
"""


@pytest.mark.launches
def test_each_rank_prints_where_it_is_and_what_it_waits_for(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(SIMULATE)
    done = mpirun(3, script, tmp_path)
    assert done.returncode == 0, done.stdout
    main, *workers = [(tmp_path / f"rank{rank}").read_text() for rank in range(3)]
    lines = enumerate(SIMULATE.splitlines(), 1)
    line = next(n for n, text in lines if "# this rank prints" in text)
    for rank, text in enumerate(workers, 1):
        assert text.count(f"bsbpool: rank {rank} of 3 on {HOST} (process ") == 1, text
        assert "  it has been running job " in text and " 'simulate' of pool " in text
        assert text.count(f'  File "{script}", line {line} in simulate\n') == 1, text
    assert f"bsbpool: rank 0 of 3 on {HOST} (process " in main
    assert " in look\n" in main
    assert "  it has been executing pool " in main and ": 2 jobs: 2 running\n" in main
    assert "  it waits for the workers\n" in main
    assert "  2 of 2 workers have a job:\n" in main
    for number, rank in enumerate((1, 2)):
        # With the arguments and the submitter, which the worker does not know.
        row = f"    rank {rank} on {HOST} has been running job {number} 'simulate('/"
        assert row in main, main
    assert main.count("' of node 'granule' for ") == 2
    for text in (*workers, *main.splitlines()[-2:]):
        ((value, unit),) = re.findall(r" for ([\d.]+) (m?s)\n?", text)
        assert 0.3 <= float(value) * {"s": 1, "ms": 1e-3}[unit] < 30, text


STUCK = """\
import ctypes, os, sys, time
from pathlib import Path

import bsbpool
from bsbpool import state_dump


def stuck(owner, file):
    Path(file).write_text(str(os.getpid()))
    return ctypes.PyDLL(None).pause()  # keeps the GIL, until a signal has been handled


file = Path(sys.argv[1], "pid")
job = None


def signal_rank(record):
    if job is not None and job.status.value == "running" and file.exists():
        os.kill(int(file.read_text()), state_dump.installed())


with bsbpool.create_job_pool(quiet=True) as pool:
    if pool.is_main():
        pool.add_listener(signal_rank, max_wait=0.05)
        job = pool.submit(stuck, str(file))
    pool.execute()
    if pool.is_main():
        print("result", job.result)
"""


@pytest.mark.launches
def test_a_rank_that_hangs_in_c_code_prints_its_stack(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(STUCK)
    done = mpirun(3, script, tmp_path)
    assert done.returncode == 0, done.stdout
    assert "result -1" in done.stdout  # the call was interrupted
    line = next(n for n, text in enumerate(STUCK.splitlines(), 1) if "pause()" in text)
    assert f'  File "{script}", line {line} in stuck\n' in done.stdout


SETTING = """
import os, signal, sys
{before}
import bsbpool
from bsbpool import state_dump

with bsbpool.create_job_pool(quiet=True) as pool:
    if pool.is_main():
        job = pool.submit(lambda owner: 1)
    pool.execute()
if pool.is_main():
    number = state_dump.installed()
    print("installed", number and number.name)
{after}
"""


def run(ranks=1, before="", after="", **env):
    done = mpirun(ranks, "-c", SETTING.format(before=before, after=after), env=env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_run_of_one_process_installs_nothing_unless_the_setting_says_so():
    default = "signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL"
    after = f"print({default}, 'faulthandler' in sys.modules)"
    assert run(after=after) == "installed None\nTrue False\n"
    after = "signal.raise_signal(signal.SIGUSR2)"
    text = run(after=after, BSBPOOL_DUMP_SIGNAL="USR2")
    assert "installed SIGUSR2" in text
    assert f"bsbpool: rank 0 of 1 on {HOST}" in text
    assert "it executes no pool" in text


@pytest.mark.launches
@pytest.mark.parametrize(("setting", "name"), [("USR2", "SIGUSR2"), ("none", "None")])
def test_the_setting_chooses_the_signal(setting, name):
    assert f"installed {name}\n" in run(3, BSBPOOL_DUMP_SIGNAL=setting)


@pytest.mark.launches
def test_signals_that_the_program_handles_are_left_alone():
    before = "signal.signal(signal.SIGUSR2, print); signal.signal(signal.SIGUSR1, print)"
    after = "assert signal.getsignal(signal.SIGUSR2) is print"
    assert "installed None\n" in run(3, before, after)
    # Python does not know the handlers of C code.
    before = "import faulthandler; [faulthandler.register(n, chain=False) for n in (10, 12)]"
    assert "installed None\n" in run(3, before)


def test_a_handler_that_the_program_sets_later_stays():
    after = (
        "signal.signal(signal.SIGUSR2, lambda *args: print('mine'))\n"
        "signal.raise_signal(signal.SIGUSR2)\n"
        "state_dump.uninstall()\n"
        "signal.raise_signal(signal.SIGUSR2)"
    )
    text = run(after=after, BSBPOOL_DUMP_SIGNAL="USR2")
    assert text == "installed SIGUSR2\nmine\nmine\n"


def test_a_forked_child_has_the_default_action():
    after = (
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    signal.raise_signal(signal.SIGUSR2)\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "signal.raise_signal(signal.SIGUSR2)"
    )
    text = run(after=after, BSBPOOL_DUMP_SIGNAL="USR2")
    assert f"\n{-signal.SIGUSR2}\n" in text
    assert text.count("it executes no pool") == 1  # the parent still prints


@pytest.mark.launches
def test_a_chosen_signal_that_is_in_use_gives_one_warning():
    before = "signal.signal(signal.SIGUSR2, print)"
    text = run(3, before, BSBPOOL_DUMP_SIGNAL="USR2")
    assert "installed None\n" in text
    assert text.count("BSBPOOL_DUMP_SIGNAL is USR2, but the program or a library handles") == 1


def test_a_wrong_signal_is_refused():
    with pytest.raises(ValueError, match="BSBPOOL_DUMP_SIGNAL is 'KILL'; set it to one of USR1,"):
        state_dump.chosen_signals("KILL")
    assert state_dump.chosen_signals("SIGUSR2") == [signal.SIGUSR2]
    assert state_dump.chosen_signals("none") == []


def test_an_error_in_the_description_is_printed(capfd):
    def broken():
        raise LookupError("gone")

    with state_dump.described_by(broken):
        state_dump.print_state(signal.SIGUSR1, sys._getframe())
    assert "its state cannot be read: LookupError: gone" in capfd.readouterr().err


def test_the_threads_of_the_process_are_printed(capfd):
    import threading

    ready, end = threading.Event(), threading.Event()

    def waits_for_the_end():
        ready.set()
        end.wait()

    thread = threading.Thread(target=waits_for_the_end, name="mine")
    thread.start()
    ready.wait()
    state_dump.print_state(signal.SIGUSR1, sys._getframe())
    end.set()
    thread.join()
    text = capfd.readouterr().err
    assert "Thread mine (most recent call first):\n" in text
    assert " in test_the_threads_of_the_process_are_printed.<locals>.waits_for_the_end\n" in text
