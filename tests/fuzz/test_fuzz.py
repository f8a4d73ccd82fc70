"""A short run of `make fuzz`, and tests of the fuzzer: errors are found, stored and replayed."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = 20


def fuzz(*args, **env):
    command = [sys.executable, "-m", "fuzz", *map(str, args)]
    return subprocess.run(
        command, cwd=TESTS, env=os.environ | env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.limit(SECONDS * 6)
def test_all_targets_decode_or_reject_random_bytes():
    done = fuzz("--seconds", SECONDS, "--seed", random.randrange(10**9))
    assert done.returncode == 0, done.stdout
    assert "5 of 5 targets without a finding" in done.stdout


@pytest.mark.limit(120)
@pytest.mark.parametrize(
    ("fault", "message"),
    [("error", "ZeroDivisionError"), ("crash", "Segmentation fault"), ("hang", "Timeout")],
)
def test_an_error_is_found_stored_and_replayed(fault, message):
    done = fuzz("--target", "faulty", "--seconds", 30, "--time-limit", 2, FAULT=fault)
    assert done.returncode == 1
    assert message in done.stdout
    path = Path(re.search(r"--replay (\S+)'", done.stdout).group(1))
    assert path.read_bytes()[0] == 7
    again = fuzz("--replay", path, "--time-limit", 2, FAULT=fault)
    assert again.returncode != 0
    assert message in again.stdout
    path.write_bytes(b"harmless")
    assert "no error" in fuzz("--replay", path, FAULT=fault).stdout
    path.unlink()
