"""Messages name jobs by their labels; objects that cannot be printed do not fail a job or a run."""

from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest

from bsbpool import (
    Job,
    JobPoolError,
    JobSchedulingError,
    SubmissionContext,
    WorkflowError,
    create_job_pool,
)
from bsbpool.function_job import FunctionJob
from bsbpool.futures import PoolExecutor
from bsbpool.listeners.json_lines import JsonLinesListener
from bsbpool.listeners.log import LogListener
from bsbpool.listeners.tally import PoolTally
from bsbpool.listeners.terminal import TerminalListener
from helpers.launch import mpirun

from .on_ranks import on_ranks
from .support import Node, fail, give, nothing
from .test_naming import Hostile


def area(owner, a, b):
    """Return the area of a rectangle."""
    return a * b


class Own(Job):
    """A user-defined subclass of Job."""

    @staticmethod
    def execute(job_owner, args, kwargs):
        return args


class HostileCall(Hostile):
    """A callable that fails, and whose repr, str and name raise."""

    def __call__(self, owner=None, *args):
        raise LookupError("from the call")


class HostileName(SubmissionContext):
    """The context of a submission whose name raises."""

    @property
    def name(self):
        raise AttributeError("no name")


class HostileError(Exception):
    """An error that cannot be printed."""

    def __str__(self):
        raise RuntimeError("no text")


def members(pool):
    """Execute; return the failures as text, each with its cause."""
    with pytest.raises(WorkflowError) as caught:
        pool.execute()
    return [(str(error), error.__cause__) for error in caught.value.exceptions]


# ------------------------------------------------------------------ labels


def test_28_a_label_has_the_number_and_the_call(pool):
    first = pool.submit(area, 2, 3)
    second = pool.submit(area, 2, b=3)
    third = pool.queue(area, (np.zeros((9, 9)), "x" * 99))
    assert pool.jobs.index(second) == 1
    assert [job.label for job in (first, second, third)] == [
        "job 0 'area(2, 3)'",
        "job 1 'area(2, b=3)'",
        "job 2 'area(<ndarray (9, 9) float64>, ...)'",
    ]


def test_28_a_label_names_the_submitter(pool):
    node = Node("cortex")
    jobs = [pool.queue(nothing, submitter=who) for who in (node, "me", None, nothing, 3)]
    labels = [job.label.partition(" ")[2] for job in jobs]
    assert labels == [
        "0 'nothing()' of node 'cortex'",
        "1 'nothing()' of 'me'",
        "2 'nothing()'",
        "3 'nothing()'",
        "4 'nothing()' of 3",
    ]


def test_28_a_label_has_the_given_name_and_the_submitter(pool):
    view = pool.options(name="trial")
    jobs = [view.queue(area, (2, 3), submitter=who) for who in (Node("cortex"), None)]
    assert [job.label for job in jobs] == ["job 0 'trial' of node 'cortex'", "job 1 'trial'"]


def test_28_a_label_of_another_kind_of_job(pool):
    own = pool.put(Own(pool, SubmissionContext(Node("cortex")), (1, 2), {}))
    odd = pool.put(Own(pool, SubmissionContext(None), 5, {"a": 1}))
    loose = FunctionJob(pool, area, (2, 3), {})
    assert own.label == "job 0 'Own(1, 2)' of node 'cortex'"
    assert odd.label == "job 1 'Own(5, a=1)'"
    assert loose.label == "job 'area(2, 3)'"


def test_28_a_label_stays_after_the_pool():
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(area, 2, 3)
    assert job.label == "job 0 'area(2, 3)'"
    assert " at 0x" in str(job), "how bsb prints a job"


def test_28_failures_name_their_jobs(pool):
    for n in range(3):
        pool.submit(fail, f"no {n}")
    assert [text for text, _ in members(pool)] == [
        f"job {n} 'fail('no {n}')' failed" for n in range(3)
    ]


def test_28_no_message_has_an_address(pool):
    job = pool.submit(fail)
    with pytest.warns(UserWarning) as warned:
        job.run()
        job.cancel()
    texts = [str(warning.message) for warning in warned]
    for misuse in (job.run, lambda: job.result, lambda: pool.put(job), lambda: pool.queue(job)):
        with pytest.raises((JobPoolError, TypeError)) as refused:
            misuse()
        texts.append(str(refused.value))
    texts += [text for text, _ in members(pool)]
    assert len(texts) == 6
    for text in texts:
        assert "0x" not in text
    assert sum("job 0 'fail()'" in text for text in texts) == 5


# ------------------------------------------------------------------ objects that are only printed


@pytest.mark.parametrize("error", [ValueError, AttributeError, SystemExit])
def test_17_names_that_raise_do_not_end_a_run(pool, error, capsys):
    """Whether a listener, a warning or the log prints them."""
    submitter = Hostile(error)
    records = io.StringIO()
    for listener in (PoolTally(), JsonLinesListener(records), LogListener(seconds=0.001)):
        pool.add_listener(listener)
    failed = [
        pool.submit(HostileCall(error)),
        pool.queue(fail, submitter=submitter, colour=Hostile(error)),
        pool.queue(give, (Hostile(error), 2)),
        pool.put(Own(pool, HostileName(None), (HostileCall(error),), {})),
        pool.submit(lambda owner: (_ for _ in ()).throw(HostileError())),
    ]
    good = pool.queue(give, (7,), submitter=submitter)
    causes = [type(cause) for _, cause in members(pool)]
    assert good.result == 7
    assert causes == [LookupError, ValueError, TypeError, HostileError]
    for job in failed:
        assert job.name
        assert job.description
        assert str(job)
        assert job.label.startswith(f"job {job._id} ")
    with pytest.warns(UserWarning, match="Could not cancel job 0 '<HostileCall: its __repr__"):
        failed[0].cancel()
    names = {json.loads(line).get("name", "") for line in records.getvalue().splitlines()}
    assert any(name.startswith("<Hostile: its get_node_name raised") for name in names)
    assert "bsbpool: job 1 'fail()' of node '<Hostile: its get_node" in capsys.readouterr().err


def test_17_nodes_that_cannot_be_printed_and_their_dependents(pool):
    class Bad(Node):
        def __repr__(self):
            raise ValueError

        get_node_name = __str__ = __repr__

    first = Bad()
    second = Bad(depends_on=[first])
    pool.schedule([first, second], lambda node: fail(None))
    (one, _), (two, cause) = members(pool)
    assert one == two == "<Bad: its get_node_name raised ValueError> failed to schedule its jobs."
    assert isinstance(cause, JobSchedulingError)
    assert str(cause) == "Depends on [<Bad: its __repr__ raised ValueError>], whom failed."


def test_17_a_bar_of_a_job_that_cannot_be_printed(pool):
    pytest.importorskip("rich")
    with tempfile.TemporaryFile("w") as file, TerminalListener(file) as listener:
        pool.add_listener(listener)
        pool.queue(nothing, submitter=Hostile())
        pool.queue(nothing, submitter="line\nbreak \udc80")
        pool.submit(lambda owner: listener.show())
        pool.execute()


def test_17_a_terminal_that_cannot_show_a_name(pool, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="ascii"))
    pool.add_listener(LogListener())
    pool.queue(fail, submitter="caf\u00e9 \udc80")
    with pytest.raises(WorkflowError):
        pool.execute()
    assert rb"'fail()' of 'caf\xe9 \udc80' failed" in written.getvalue()


def test_17_a_bad_argument_that_cannot_be_printed_is_still_refused(pool):
    for misuse in (
        lambda: pool.queue(nothing, Odd()),
        lambda: pool.queue(Odd()),
        lambda: pool.queue(nothing, deps=[Odd()]),
        lambda: pool.queue(nothing, kwargs=Odd()),
        lambda: pool.add_listener(Odd()),
        lambda: create_job_pool(max_memory=Odd()),
        lambda: create_job_pool(comm=Odd()),
        lambda: PoolExecutor(max_workers=Odd()),
        lambda: PoolExecutor(initializer=Odd()),
    ):
        with pytest.raises(TypeError, match="got <Odd: its __repr__ raised SystemExit>"):
            misuse()


class Odd:
    """An object that cannot be printed and that no pool accepts."""

    def __repr__(self):
        raise SystemExit


# ------------------------------------------------------------------ the pool's owner


def without_owner(a, b):
    """A function without a parameter for the owner."""
    return a * b


def deeper(owner):
    """Call another function with wrong arguments."""
    return without_owner(1)


def notes(error):
    return getattr(error, "__notes__", [])


def test_33_a_function_without_a_parameter_for_the_owner(pool):
    wrong = pool.submit(without_owner, 2, 3)
    named = pool.submit(without_owner, 2, b=3)
    inside = pool.submit(deeper)
    raising = pool.submit(lambda owner: int("x"))
    members(pool)
    note = "Job functions receive the pool's owner as first argument: f(owner, ...)."
    assert notes(wrong.error) == notes(named.error) == [note]
    assert notes(inside.error) == notes(raising.error) == []


def test_33_a_call_of_an_executor_has_no_owner():
    with PoolExecutor() as executor:
        assert notes(executor.submit(without_owner, 1).exception()) == []


# ------------------------------------------------------------------ on several ranks


@on_ranks(3)
def test_on_ranks_jobs_of_equal_names_are_distinguished():
    logging.getLogger("bsbpool").setLevel(logging.DEBUG)
    logging.getLogger("bsbpool").addHandler(logging.StreamHandler(io.StringIO()))
    with create_job_pool(quiet=True) as pool:
        if not pool.is_main():
            with pytest.raises(WorkflowError) as caught:
                pool.execute()
            assert type(caught.value) is WorkflowError
            return
        pool.add_listener(PoolTally())
        bad = pool.submit(HostileCall())
        sent = pool.submit(area, Hostile(), 2)
        lazy = pool.submit(lambda owner: (n for n in ()))
        unsent = pool.submit(give, (n for n in ()))
        wrong = pool.submit(without_owner, 2, 3)
        closure = 4
        lazier = pool.submit(lambda owner: (n for n in (closure,)))
        good = pool.queue(give, (7,), submitter=Hostile(SystemExit))
        texts = [text for text, _ in members(pool)]
        assert good.result == 7
        assert len(texts) == 6
        assert "job 4 'without_owner(2, 3)' failed" in texts
        assert isinstance(bad.error, LookupError)
        assert isinstance(sent.error, TypeError)
        assert bad.error.__cause__.job == bad.label
        generator = "cannot pickle 'generator' object"
        text = "The return value of {} cannot be pickled: " + generator
        assert str(lazy.error) == text.format("job 2 '<lambda>()'")
        assert str(lazier.error) == text.format("job 5 '<lambda>()'")
        assert str(unsent.error) == (
            f"The function or the arguments of {unsent.label} cannot be pickled: {generator}"
        )
        assert "receive the pool's owner as first argument" in notes(wrong.error)[0]
        assert notes(sent.error) == []


@on_ranks(3)
def test_17_on_ranks_an_executor_continues():
    with PoolExecutor() as executor:
        if executor is None:
            return
        bad = [HostileCall(), HostileCall(SystemExit)]
        for f in bad:
            assert isinstance(executor.submit(f).exception(60), LookupError)
            with pytest.raises(LookupError):
                list(executor.map(f, range(3)))
        odd = executor.options(name=Hostile(), submitter=Hostile())
        assert isinstance(odd.submit(int, "x").exception(60), ValueError)
        assert executor.submit(abs, -3).result(60) == 3


def test_17_an_executor_of_one_process_continues():
    with PoolExecutor() as executor:
        for f in (HostileCall(), HostileCall(SystemExit)):
            assert isinstance(executor.submit(f).exception(), LookupError)
            with pytest.raises(LookupError):
                list(executor.map(f, range(3)))
        assert executor.submit(abs, -3).result() == 3


def hostile_initializer():
    """Raise an error that cannot be printed."""
    raise HostileError


def test_17_an_initializer_whose_error_cannot_be_printed():
    text = "the initializer raised HostileError: <HostileError: its __str__ raised RuntimeError>"
    with (
        PoolExecutor(initializer=hostile_initializer) as executor,
        pytest.raises(BrokenExecutor, match=text),  # by the future, or already by submit
    ):
        executor.submit(abs, -3).result()


UNCAUGHT = """
from bsbpool import create_job_pool
from mpi4py import MPI
def area(a, b):
    return a * b
pool = create_job_pool(quiet=True)
with pool:
    if pool.is_main():
        pool.submit(area, 2, 3)
    {execute}
"""


def test_28_other_ranks_print_one_line_for_an_aborted_run():
    # Without a barrier the launcher may end the other ranks before they have printed.
    once = "try:\n        pool.execute()\n    finally:\n        MPI.COMM_WORLD.Barrier()"
    done = mpirun(3, "-c", UNCAUGHT.format(execute=once))
    assert done.returncode != 0
    assert done.stdout.count("Exception Group Traceback") == 1
    assert "job 0 'area(2, 3)' failed" in done.stdout
    assert "See main node" not in done.stdout
    for rank in (1, 2):
        line = f"bsbpool: rank {rank} stops: an error on rank 0 ended the run."
        assert done.stdout.count(line) == 1
    assert "rank 0 stops" not in done.stdout


def test_28_the_hook_leaves_other_errors_and_other_hooks_alone(monkeypatch, capsys):
    from bsbpool.execution.early_end import early_end_error

    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    mine, other = early_end_error(2), ValueError("other")
    sys.excepthook(type(mine), mine, None)
    assert capsys.readouterr().err == (
        "bsbpool: rank 2 stops: an error on rank 0 ended the run. See the output of rank 0.\n"
    )
    sys.excepthook(ValueError, other, None)
    assert capsys.readouterr().err == "ValueError: other\n"

    def of_the_program(kind, error, traceback):
        raise AssertionError

    monkeypatch.setattr(sys, "excepthook", of_the_program)
    early_end_error(1)
    assert sys.excepthook is of_the_program
