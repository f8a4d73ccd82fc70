"""The public API compared with plain Python: 20 s of the programs of `make differential`.

A difference prints the shrunk program and the seed that reproduces it.
"""

from __future__ import annotations

import faulthandler
import time
from dataclasses import replace

import pytest

from differential import session as playing
from differential.__main__ import play
from differential.describe import describe
from differential.draw import CELLS
from differential.executor_plan import Change as ChangeOfExecutor
from differential.executor_plan import ExecutorPlan, Submit, draw_executor_plan
from differential.outcome import Expected, Seen
from differential.pool_plan import Cancel, PoolPlan, Queue, draw_pool_plan
from differential.pool_run import PoolRun
from differential.recipes import MAKERS, Builder, V
from differential.session import KINDS, Session
from differential.shrink import shrink
from sim.plan import show

SEEDS_HERE, SEEDS_ON_RANKS = 120, 50


@pytest.fixture(autouse=True)
def guard_of_the_test():
    """Restore the guard of the test, whose timer the programs use."""
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("kind", KINDS)
def test_one_process(kind, capfd):
    assert not play(kind, 0, SEEDS_HERE, ranks=1), capfd.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_three_ranks(kind, capfd):
    assert not play(kind, 5_000, SEEDS_ON_RANKS, ranks=3), capfd.readouterr().out


# ------------------------------------------------------------------ reproducibility


@pytest.mark.parametrize("draw", [draw_pool_plan, draw_executor_plan])
def test_a_seed_gives_the_same_program_again_and_it_is_python(draw):
    from differential import executor_plan, pool_plan

    names = vars(executor_plan if draw is draw_executor_plan else pool_plan) | {"V": V}
    for seed in range(30):
        assert show(draw(seed)) == show(draw(seed))
        assert eval(show(draw(seed)), dict(names)) == draw(seed)


def test_values_are_built_alike_again_and_again():
    for kind in MAKERS:
        for n in range(0, 400, 13):
            value = V(kind, n, (V("int", 3), V("list", 0, (V("str", 2),))))
            assert describe(Builder(()).build(value)) == describe(Builder(()).build(value))


def test_a_cell_is_built_as_it_was_then():
    changes = [(0, 1), (0, 5)]
    for cell in CELLS:
        alive = Builder((cell,))
        first = alive.build(V("cell"))
        seen = [describe(first)]
        for change in changes:
            alive.change(*change)
            seen.append(describe(first))
        for n, was in enumerate(seen):
            assert describe(Builder((cell,), changes[:n]).build(V("cell"))) == was


# ------------------------------------------------------------------ detection of errors


class Loses(PoolRun):
    """A pool that returns wrong results for lists."""

    def _see(self, job):
        seen = super()._see(job)
        return Seen(seen.status, None) if "'builtins.list'" in repr(seen.value) else seen


def differing(monkeypatch, run):
    """Return the first program that differs, and its difference."""
    kind = KINDS["pool"]
    monkeypatch.setitem(playing.KINDS, "pool", kind._replace(run=run))
    session = Session()
    for seed in range(300):
        plan = replace(draw_pool_plan(seed), listener="", max_memory=-1)
        if len(plan.steps) < 20 and any("None, not" in wrong for wrong in session.play(plan)):
            return session, plan
    pytest.fail("no seed found it")


def test_a_wrong_result_is_found_and_the_program_made_small(monkeypatch):
    session, plan = differing(monkeypatch, Loses)

    def differs(plan):
        return [wrong for wrong in session.play(plan) if "None, not" in wrong]

    small, wrong = shrink(plan, differs, 300)
    assert "None, not" in wrong[0]
    assert len(small.steps) == 1
    assert any(word in show(small) for word in ("'list'", "kind=", "item="))


def test_a_callable_that_changes_between_two_calls_is_noticed():
    """The oracle rebuilds the arguments of a call as they were at its submission."""
    get = V("cell", 1)
    plan = ExecutorPlan(
        cells=(V("dict", 0, (V("int", 1),)), V("builtin method", 0, (V("cell", 0),))),
        steps=(
            Submit(0, get, (V("int", 1),)),
            ChangeOfExecutor(0, 1),
            Submit(1, get, (V("int", 1),)),
        ),
    )
    assert Session().play(plan) == []


def test_both_outcomes_are_allowed_where_timing_decides():
    plan = PoolPlan(steps=(Queue(0), Cancel(0, "why"), Queue(1, deps=(0,))))
    assert Session().play(plan) == []
    loose = Expected("SUCCESS", 1, or_else={"CANCELLED"})
    assert loose.mistake(Seen("CANCELLED")) == ""
    assert loose.mistake(Seen("FAILED", ("error", "builtins.ValueError"))) != ""


def test_a_program_that_hangs_ends_with_its_seed_and_all_stacks(tmp_path):
    from helpers.launch import mpirun

    program = tmp_path / "hang.py"
    program.write_text(HANGS)
    began = time.monotonic()
    done = mpirun(2, str(program), cwd=playing.TESTS, env={"PYTHONPATH": str(playing.TESTS)})
    assert time.monotonic() - began < 50
    assert done.returncode != 0
    assert "seed 7 hangs: PoolPlan(" in done.stdout
    assert done.stdout.count("Timeout (") >= 2
    assert "never_ends" in done.stdout


HANGS = """
import time
from mpi4py import MPI
from differential import session
from differential.pool_run import PoolRun

def never_ends():
    time.sleep(1000)

class Hangs(PoolRun):
    def run(self):
        never_ends()

session.SECONDS = 2.0
session.KINDS["pool"] = session.KINDS["pool"]._replace(run=Hangs)
playing = session.Session(MPI.COMM_WORLD)
if playing.rank:
    playing.follow()
playing.play_seeds("pool", range(7, 8))
"""
