"""The written surface of the compiled rooms (.pyi) is the one that they have."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

ROOMS = Path(__file__).parents[2] / "src" / "_core"
STUBS = sorted(path.stem for path in ROOMS.glob("*.pyi"))
INNER = {"dispatcher", "lines", "workers"}
"""Rooms that Python sees nothing of."""


def of_stub(body):
    """Names to parameters (of what is called), to members (of classes), or to None."""
    found = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = of_stub(node.body)
        elif isinstance(node, ast.FunctionDef):
            is_property = any(getattr(d, "id", "") == "property" for d in node.decorator_list)
            found[node.name] = None if is_property else parameters_of_stub(node.args)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            found[target.id] = None
    return found


def parameters_of_stub(args):
    names = [arg.arg for arg in args.posonlyargs + args.args]
    n_required = len(names) - len(args.defaults)
    return [(name, place >= n_required) for place, name in enumerate(names)]


def of_module(module):
    return {
        name: of_object(thing)
        for name, thing in vars(module).items()
        if not inspect.ismodule(thing)
        and getattr(thing, "__module__", module.__name__) == module.__name__
    }


def of_object(thing):
    if inspect.isclass(thing) and issubclass(thing, Enum):
        return dict.fromkeys(thing.__members__)
    if inspect.isclass(thing):
        return {name: of_object(member) for name, member in vars(thing).items()}
    if not callable(thing):
        return None
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:  # written in C
        return None
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    return [(p.name, p.default is not p.empty) for p in named]


def public(surface):
    """Leave out what is private, what Cython adds, and special methods."""
    return {
        name: public(inner) if isinstance(inner, dict) else inner
        for name, inner in surface.items()
        if not name.startswith("_")
    }


def compare(room, module):
    stub = of_stub(ast.parse((ROOMS / f"{room}.pyi").read_text()).body)
    assert public(stub) == public(of_module(module))
    compare_constructors(room, stub)


def compare_constructors(room, stub):
    """At run time a constructor has no signature, so the source is asked."""
    source = (ROOMS / f"{room}.pyx").read_text()
    for kind in re.split(r"^cdef class ", source, flags=re.MULTILINE)[1:]:
        name = re.match(r"\w+", kind).group()
        # Not one with a star: it only hands on what another takes.
        made = re.search(r"^    def __c?init__\(\s*self, ([^*)]*)\)", kind, re.MULTILINE)
        if made:
            texts = made.group(1).strip().removesuffix(",").split(",")
            parameters = [parameter_of_source(text) for text in texts]
            assert stub[name]["__init__"][1:] == parameters, name


def parameter_of_source(text):
    name, *default = text.replace("not None", "").split("=")
    return name.split()[-1], bool(default)


@pytest.mark.parametrize("room", [room for room in STUBS if room != "mpi"])
def test_a_stub_says_what_the_module_has(room):
    compare(room, importlib.import_module(f"bsbpool._core.{room}"))


IN_A_PROCESS_WITH_MPI = """
import sys
import mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
from bsbpool.services.channels import mpi_module
sys.path.insert(0, sys.argv[1])
import test_stubs
test_stubs.compare("mpi", mpi_module())
"""


def test_the_stub_of_the_mpi_room():
    pytest.importorskip("mpi4py")
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", IN_A_PROCESS_WITH_MPI, here]
    done = subprocess.run(command, capture_output=True, text=True)
    if "DependencyError" in done.stderr:
        pytest.skip("built without a room for this MPI")
    assert done.returncode == 0, done.stderr


def test_every_room_with_a_surface_has_a_stub():
    rooms = {path.stem for path in ROOMS.glob("*.pyx")}
    assert rooms - INNER == set(STUBS)
    for room in INNER:
        assert public(of_module(importlib.import_module(f"bsbpool._core.{room}"))) == {}
