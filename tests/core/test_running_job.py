"""Interrupts of jobs: they are raised in the job, and never in the code around it."""

import sys
import threading
import time

import pytest
from cluster import Run, cluster, wait_until

from bsbpool._core.jobs.invoke import InterruptKind, RunningJob

CANCEL, TIMEOUT, RUN_ENDED = InterruptKind


class Interrupted(Exception):
    """Raised in interrupted jobs."""


class TimedOut(Interrupted):
    """Raised in jobs whose time is over."""


@pytest.fixture
def job():
    job = RunningJob()
    prepare(job)
    return job


def prepare(job):
    job.error_classes = (BaseException, Interrupted, TimedOut, Interrupted)
    job.bind()


def spin(seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class TestWithoutThreads:
    def test_no_job_runs(self, job):
        assert job.number == -1
        assert not job.interrupt(-1, CANCEL)
        assert not job.interrupt(0, CANCEL)
        assert job.take() is None

    def test_another_job_runs(self, job):
        assert job.run(3, lambda: job.interrupt(2, CANCEL)) is False
        assert job.number == -1

    @pytest.mark.parametrize("kind", InterruptKind)
    def test_the_job_runs(self, job, kind):
        def body():
            assert job.interrupt(3, kind)
            assert job.interrupted(3) == kind
            assert job.interrupted(2) == 0
            for _ in range(3):
                pass
            raise AssertionError("not reached")

        with pytest.raises(Interrupted):
            job.run(3, body)
        assert job.interrupted(3) == 0
        job.run(3, spin, 0.001)

    def test_functions_can_be_traced_afterwards(self, job):
        """Python 3.11 hung in the first one, if the interpreter still looked for the interrupt."""
        with pytest.raises(Interrupted):
            job.run(3, lambda: job.interrupt(3, CANCEL) and spin())
        before = sys.gettrace()
        sys.settrace(lambda *_: None)
        try:
            spin(0.001)
        finally:
            sys.settrace(before)

    def test_the_first_interrupt_counts(self, job):
        kinds = []

        def body():
            try:
                job.interrupt(3, TIMEOUT)
                spin()
            except Interrupted:
                assert job.interrupt(3, CANCEL)
                kinds.append(job.interrupted(3))
            spin(0.01)
            return 5

        assert job.run(3, body) == 5
        assert kinds == [TIMEOUT]

    def test_a_masked_interrupt_is_raised_by_call(self, job):
        def body():
            job.mask()
            assert job.interrupt(3, CANCEL, b"why")
            spin(0.01)
            with pytest.raises(Interrupted) as caught:
                job.call(called.append, 1)
            assert caught.value.args == ("why",)
            job.call(called.append, 2)
            spin(0.01)
            return job.interrupted(3)

        called = []
        assert job.run(3, body) == CANCEL
        assert called == [2]

    def test_a_masked_interrupt_that_is_not_raised_is_forgotten(self, job):
        job.run(3, lambda: (job.mask(), job.interrupt(3, CANCEL)))
        job.run(3, spin, 0.01)

    def test_an_interrupt_in_the_last_moment_is_withdrawn(self, job):
        """After `call` no bytecode of the job follows, in which it could be raised."""

        def body():
            job.mask()
            job.call(job.interrupt, 3, CANCEL)
            spin(0.01)
            return 5

        assert job.run(3, body) == 5
        assert job.run(4, job.interrupt, 4, CANCEL) is True
        spin(0.01)

    def test_reasons_are_cut_off(self, job):
        def body():
            job.mask()
            job.interrupt(3, CANCEL, b"x" * 1000)
            return job.error()

        assert job.run(3, body).args == ("x" * 256,)

    def test_the_details_are_dropped_with_an_interrupt(self, job):
        def body():
            job.mask()
            job.details = "some"

        job.run(3, body)
        assert job.details is None

    def test_it_is_known_which_errors_an_interrupt_has_raised(self, job):
        def body():
            job.mask()
            job.interrupt(3, TIMEOUT)
            before = job.has_raised(TimedOut())
            with pytest.raises(Interrupted):
                job.call(spin)
            return before, job.has_raised(TimedOut()), job.has_raised(Interrupted())

        assert job.run(3, body) == (False, True, False)


class TestFromAnotherThread:
    def test_only_the_job_is_hit(self, job):
        """Thousands of short jobs, while another thread interrupts whatever runs."""
        stop = threading.Event()

        def interrupt():
            while not stop.is_set():
                job.interrupt(job.number, CANCEL)

        thread = threading.Thread(target=interrupt)
        n_hit = n_between = 0
        thread.start()
        try:
            end = time.monotonic() + 1.0
            number = 0
            while time.monotonic() < end:
                number += 1
                try:
                    job.run(number, spin, 0.0001 * (number % 3))
                except Interrupted:
                    n_hit += 1
                n_between += job.interrupted(number)
        finally:
            stop.set()
            thread.join()
        assert n_hit > 10
        assert n_between == 0


# ------------------------------------------------------------------ over the network


def end_of(callbacks, body):
    """Return a function of a job that runs `body`, and how it ended as its reply."""

    def run(payload, buffers):
        running_job = callbacks().loop.running_job
        prepare(running_job)
        try:
            running_job.call(body)
        except Interrupted as error:
            return 1, repr(error).encode(), []
        return 1, b"to its end", []

    return run


def test_a_worker_interrupts_the_job_that_it_runs():
    started = threading.Event()

    def body():
        started.set()
        spin()

    functions = {"spin": end_of(lambda: made.callbacks_of(0), body)}
    with cluster(1, functions, threads=True) as made:
        run = Run(made)
        jobs = [run.submit("spin") for _ in range(2)]
        interrupted = set()

        def interrupt():
            first = run.engine.running_job(0)
            if started.is_set() and first is not None and first not in interrupted:
                started.clear()
                interrupted.add(first)
                run.loop.interrupt(first, CANCEL, b" why")

        run.callbacks.on_turn = interrupt
        began = time.monotonic()
        results = run.execute()
        run.stop()
    assert time.monotonic() - began < 15
    # Workers of these tests are no main threads, so the error has no arguments.
    assert [results[job][1] for job in jobs] == [b"Interrupted()"] * 2


def test_a_job_that_has_not_begun_is_skipped():
    release = threading.Event()
    functions = {"wait": lambda payload, buffers: (release.wait(20), (1, b"", []))[1]}
    with cluster(1, functions) as made:
        run = Run(made)
        run.submit("wait")
        second = run.submit("wait")

        def interrupt():
            if not release.is_set():
                run.engine.cancel(second)
                run.loop.interrupt(second, CANCEL)
                release.set()

        run.callbacks.on_turn = interrupt
        run.execute()
        run.stop()
    assert second not in made.callbacks_of(0).logged("run")


def test_a_job_that_is_not_at_a_worker_is_not_interrupted():
    functions = {"nothing": lambda payload, buffers: (1, b"", [])}
    with cluster(1, functions) as made:
        run = Run(made)
        run.loop.interrupt(run.submit("nothing"), CANCEL)
        run.execute()
        run.stop()


@pytest.mark.parametrize("interrupts", [False, True])
def test_the_end_of_the_run_interrupts_the_job(interrupts):
    started = threading.Event()
    ended = []

    def body():
        started.set()
        try:
            spin(0.5 if not interrupts else 20)
            ended.append("to its end")
        except Interrupted:
            ended.append("interrupted")
            raise

    functions = {"spin": end_of(lambda: made.callbacks_of(0), body)}
    with cluster(1, functions, threads=True) as made:
        run = Run(made)
        run.submit("spin")
        run.callbacks.until = started.is_set
        run.execute()
        run.loop.stop(True, 0, interrupts)
        made.channel.close_run(run.run_id)
        wait_until(lambda: ended)
    assert ended == ["interrupted" if interrupts else "to its end"]


def test_a_worker_reports_that_it_has_left_a_job_that_was_cancelled():
    started, release = threading.Event(), threading.Event()

    def wait(payload, buffers):
        started.set()
        assert release.wait(20)
        return 1, b"", []

    with cluster(2, {"wait": wait}) as made:
        run = Run(made)
        job = run.submit("wait")
        run.callbacks.on_turn = lambda: started.is_set() and run.engine.cancel(job)
        run.execute()
        busy = [run.engine.running_job(worker) is not None for worker in (0, 1)]
        run.stop()
        release.set()
        wait_until(lambda: all(worker.endings for worker in made.workers))
        reports = [made.callbacks_of(worker).loop.must_report for worker in (0, 1)]
    assert sorted(busy) == [False, True]
    assert reports == busy


# ------------------------------------------------------------------ output


def test_output_is_sent_while_the_job_runs():
    release = threading.Event()

    def speak(payload, buffers):
        loop = made.callbacks_of(0).loop
        for stream, text in ((1, b"out"), (2, b""), (1, b"x" * 5000)):
            loop.send_output(0, stream, text)
        assert release.wait(20)
        loop.send_output(0, 2, b"last")
        return 1, b"", []

    with cluster(1, {"speak": speak}, threads=True) as made:
        run = Run(made)
        run.submit("speak")
        seen = []

        def look():
            seen.append(len(run.callbacks.output))
            if seen[-1] == 3:
                release.set()

        run.callbacks.on_turn = look
        run.execute()
        run.stop()
    expected = [(0, 1, b"out"), (0, 2, b""), (0, 1, b"x" * 5000), (0, 2, b"last")]
    assert run.callbacks.output == expected
