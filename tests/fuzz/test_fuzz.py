"""The short form of `make fuzz`, and what it rests on: that what goes wrong is found and kept."""

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
def test_hostile_bytes_are_refused_or_read():
    done = fuzz("--seconds", SECONDS, "--seed", random.randrange(10**9))
    assert done.returncode == 0, done.stdout
    assert "5 of 5 targets without a finding" in done.stdout


@pytest.mark.limit(120)
@pytest.mark.parametrize(
    ("how", "said"),
    [("error", "ZeroDivisionError"), ("crash", "Segmentation fault"), ("hang", "Timeout")],
)
def test_what_goes_wrong_is_found_kept_and_happens_again(how, said):
    done = fuzz("--target", "planted", "--seconds", 30, "--patience", 2, PLANTED=how)
    assert done.returncode == 1
    assert said in done.stdout
    path = Path(re.search(r"--replay (\S+)'", done.stdout).group(1))
    assert path.read_bytes()[0] == 7
    again = fuzz("--replay", path, "--patience", 2, PLANTED=how)
    assert again.returncode != 0
    assert said in again.stdout
    path.write_bytes(b"harmless")
    assert "nothing happens" in fuzz("--replay", path, PLANTED=how).stdout
    path.unlink()
