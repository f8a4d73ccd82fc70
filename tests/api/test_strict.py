"""Strict pools of one process: they behave as on several ranks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from bsbpool import JobStatus, WorkflowError, create_job_pool

from .on_ranks import on_ranks
from .support import give

SEEN = []


def change(owner, values):
    values.append(1)
    return values


def note(owner):
    SEEN.append(1)
    return len(SEEN)


def lock(owner):
    return threading.Lock()


def fail(owner):
    raise ValueError("no", threading.Lock())


def add(owner, a, b):
    a += b
    return a


def run(strict):
    """Run jobs that differ between one process and several; return what differs."""
    with create_job_pool(quiet=True, strict=strict) as pool:
        if pool.is_main():
            values = []
            counter = iter(range(9))
            array = np.ones(30_000)
            changed = pool.submit(change, values)
            taken = [pool.submit(lambda owner, c=counter: next(c)) for _ in range(2)]
            unpicklable = pool.submit(give, threading.Lock())
            result = pool.submit(lock)
            error = pool.submit(fail)
            same = pool.submit(lambda owner, a, b: a is b, values, values)
            both = [pool.submit(add, pool.submit(give, array), 1) for _ in range(2)]
            pool.add_listener(lambda record: True)
        pool.execute()
        if not pool.is_main():
            return None
        return {
            "list": values,
            "changed": changed.result,
            "counters": [job.result for job in taken],
            "argument": unpicklable.status,
            "result": (result.status, str(result.error)),
            "error": type(error.error).__name__,
            "same": same.result,
            "array": array.sum(),
            "sums": [job.result.sum() for job in both],
        }


EXPECTED = {
    "list": [],
    "changed": [1],
    "counters": [0, 0],
    "argument": JobStatus.FAILED,
    "error": "RemoteError",
    "same": True,
    "array": 30_000.0,
    "sums": [60_000.0, 60_000.0],
}


def expected_of(found):
    status, text = found.pop("result")
    assert status is JobStatus.FAILED
    assert "cannot be pickled" in text
    assert found == EXPECTED


def test_a_strict_pool_behaves_as_on_ranks():
    expected_of(run(True))


@on_ranks(3)
def test_on_ranks():
    for strict in (False, True):
        if (found := run(strict)) is not None:
            expected_of(found)


def test_otherwise_objects_are_shared():
    found = run(False)
    assert found["list"] == [1]
    assert found["counters"] == [0, 1]
    assert found["argument"] is JobStatus.SUCCESS


def test_errors_name_the_job_and_functions_are_pickled_by_name():
    with create_job_pool(quiet=True, strict=True) as pool:
        jobs = [pool.submit(note), pool.submit(note)]
        bad = pool.submit(give, threading.Lock())
        with pytest.raises(WorkflowError):
            pool.execute()
        assert [job.result for job in jobs] == [1, 2]
        assert "arguments of job 2" in str(bad.error)


def test_with_a_job_thread():
    with create_job_pool(quiet=True, strict=True) as pool:
        pool.add_listener(lambda record: None, max_wait=0.1)
        values = []
        job = pool.submit(change, values)
        pool.execute()
        assert (values, job.result) == ([], [1])


def test_the_environment_variable():
    code = (
        "from bsbpool import create_job_pool\n"
        "values = []\n"
        "with create_job_pool(quiet=True) as pool:\n"
        "    pool.submit(lambda owner, v: v.append(1), values)\n"
        "    pool.execute()\n"
        "print(len(values))\n"
    )
    printed = {}
    for value in ("", "0", "1", "yes"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "BSBPOOL_STRICT": value},
            capture_output=True,
            text=True,
            timeout=60,
        )
        printed[value] = ran.stdout.strip() or ran.stderr.strip().splitlines()[-1]
    assert printed.pop("yes") == (
        "ValueError: BSBPOOL_STRICT is 'yes'; set it to 1 or 0, or unset it"
    )
    assert printed == {"": "1", "0": "1", "1": "0"}


def test_settings_are_checked():
    with pytest.raises(TypeError, match="strict must be True or False"):
        create_job_pool(strict="yes")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'strikt'.*strict, "):
        create_job_pool(strikt=True)
    with pytest.raises(TypeError, match="options must be a dictionary"):
        create_job_pool(options=[1])
    with pytest.raises(TypeError, match=r"create_job_pool\(\) got an unexpected option 'retry'"):
        create_job_pool(options={"retry": 1})


def test_default_options():
    with create_job_pool(quiet=True, options={"name": "all", "priority": 2}) as pool:
        plain = pool.submit(give, 1)
        many = pool.queue_many(give, [(1,)])
        other = pool.options(name="one").submit(give, 2)
        pool.execute()
        assert [job.label for job in (plain, *many, other)] == [
            "job 0 'all'", "job 1 'all'", "job 2 'one'",
        ]  # fmt: skip
        assert other.options.priority == 2
