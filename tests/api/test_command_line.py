"""The command `bsbpool`: its subcommands, their help, and what they import."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bsbpool import __version__, cli
from bsbpool.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "command-line.md").read_text()


def exit_code(arguments):
    """Return the exit code of a command that prints help or an error."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


def test_help_lists_all_commands_and_the_exit_codes(capsys):
    assert exit_code(["--help"]) == 0
    text = capsys.readouterr().out
    assert "examples:" in text and "exit codes:" in text
    for name, command in COMMANDS.items():
        assert name in text and command.summary in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_examples_and_exit_codes(name, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "bsb", None)  # else its help follows
    if name == "bsb":
        assert cli.main(["bsb", "--help"]) == 0
    else:
        assert exit_code([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: bsbpool {name}")
    assert "examples:" in text and "exit codes:" in text
    assert f"bsbpool {name}" in text.partition("examples:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_a_module_with_a_parser(name):
    module = importlib.import_module(COMMANDS[name].module)
    assert callable(module.main)
    assert module.parser().prog == f"bsbpool {name}"


@pytest.mark.parametrize("arguments", [[], ["brew"], ["--brew"]])
def test_wrong_usage(arguments, capsys):
    assert exit_code(arguments) == 2
    assert "usage: bsbpool" in capsys.readouterr().err


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    assert exit_code(["brew"]) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in COMMANDS)


def test_versions(capsys):
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"bsbpool {__version__}\n"
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["bsbpool", __version__]
    assert cli.main(["version", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bsbpool"] == __version__
    assert found["Python"] == sys.version.split()[0]
    assert found["numpy"]
    assert exit_code(["version", "now"]) == 2


def loaded_after(code):
    """Return the modules that are loaded after some code has run."""
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_the_command_imports_only_the_subcommand_that_is_used():
    modules = {command.module for command in COMMANDS.values()}
    loaded = loaded_after("import bsbpool.cli")
    assert not loaded & {*modules, "argparse", "bsbpool._core"}
    loaded = loaded_after("from bsbpool.cli import main; main(['version'])")
    assert loaded & modules == {"bsbpool.cli.version"}
    assert not loaded & {"mpi4py", "numpy", "bsb", "bsbpool.pool"}


def test_python_m_bsbpool_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "bsbpool", "version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "bsbpool"), done.stderr


def test_run_runs_a_program_and_returns_its_exit_code(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("import sys; print(sys.argv[1:]); sys.exit(7)")
    for program in ([script], ["-c", script.read_text()]):
        done = subprocess.run(
            [sys.executable, "-m", "bsbpool", "run", *program, "--help", "-n"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (7, "['--help', '-n']\n"), done.stderr
    assert exit_code(["run"]) == 2


def test_the_page_describes_all_commands():
    for name in COMMANDS:
        assert f"bsbpool {name}" in PAGE


def test_the_page_describes_all_findings():
    """Their codes are an interface for programs."""
    sources = (ROOT / "src" / "bsbpool" / "diagnostics").glob("*.py")
    text = "".join(path.read_text() for path in sources)
    codes = {part.split('"')[1] for part in text.split("Finding(\n")[1:]}
    assert len(codes) > 15
    assert [code for code in sorted(codes) if f"`{code}`" not in PAGE] == []
