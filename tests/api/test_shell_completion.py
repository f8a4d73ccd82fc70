"""Completion scripts, in a real bash, and in zsh and fish where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from bsbpool import cli
from bsbpool.cli.commands import COMMANDS
from bsbpool.cli.completion import SHELLS

COMPLETE = """
source "$0"
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
COMPREPLY=()
function_of=$(complete -p bsbpool | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function_of"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Return the files of the completion scripts by shell."""
    folder = tmp_path_factory.mktemp("completion")
    files = {}
    for shell in SHELLS:
        command = [sys.executable, "-m", "bsbpool", "completion", shell]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        files[shell] = folder / f"bsbpool.{shell}"
        files[shell].write_text(done.stdout)
    return files


def completed(script, *words, cwd=None):
    """Return what bash offers for the last of some words."""
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, script, "bsbpool", *words],
        capture_output=True, text=True, timeout=60, cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_bash_completes_commands(scripts):
    assert completed(scripts["bash"], "") >= set(COMMANDS)
    assert completed(scripts["bash"], "do") == {"doctor"}


def test_bash_completes_options_of_each_command(scripts):
    assert completed(scripts["bash"], "doctor", "--") >= {"--json", "--launcher", "--timeout"}
    assert completed(scripts["bash"], "doctor", "--js") == {"--json"}
    assert "--calibrate" in completed(scripts["bash"], "simulate", "--ranks", "8", "--c")
    assert "--calibrate" not in completed(scripts["bash"], "doctor", "--")


def test_bash_completes_choices_and_files(scripts, tmp_path):
    (tmp_path / "parameters.py").touch()
    assert completed(scripts["bash"], "completion", "") >= set(SHELLS)
    assert completed(scripts["bash"], "run", "para", cwd=tmp_path) == {"parameters.py"}
    assert completed(scripts["bash"], "simulate", "--plot", "para", cwd=tmp_path) == {
        "parameters.py"
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_complete_and_valid(scripts, shell):
    text = scripts[shell].read_text()
    assert all(name in text for name in COMMANDS)
    assert "calibrate" in text
    if shutil.which(shell):  # -n: read the script, do not run it
        checked = subprocess.run([shell, "-n", scripts[shell]], capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_without_shtab_the_error_names_the_remedy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    assert "pip install bsbpool[completion]" in capsys.readouterr().err


def test_other_shells_are_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["completion", "cmd.exe"])
    assert ended.value.code == 2
    assert "bash" in capsys.readouterr().err
