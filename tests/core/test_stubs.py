"""The stubs (.pyi) of the compiled modules list exactly the public names that these have."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "_core"
MPI = "comm.mpi.transport"
"""Built once for each MPI, as `mpi_mpich` and so on."""


def modules(suffix):
    """Return the names of all modules with a source of this suffix, relative to the core."""
    paths = (path.relative_to(SOURCES).with_suffix("") for path in SOURCES.rglob(f"*{suffix}"))
    return {".".join(path.parts) for path in paths}


STUBS = modules(".pyi")


def names_in_stub(body):
    """Map names to parameters (of functions), to members (of classes), or to None."""
    found = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = names_in_stub(node.body)
        elif isinstance(node, ast.FunctionDef):
            is_property = any(getattr(d, "id", "") == "property" for d in node.decorator_list)
            found[node.name] = None if is_property else parameters_in_stub(node.args)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            found[target.id] = None
    return found


def parameters_in_stub(args):
    names = [arg.arg for arg in args.posonlyargs + args.args]
    n_required = len(names) - len(args.defaults)
    return [(name, place >= n_required) for place, name in enumerate(names)]


def names_in_module(module):
    return {
        name: describe(value)
        for name, value in vars(module).items()
        if not inspect.ismodule(value)
        and getattr(value, "__module__", module.__name__) == module.__name__
    }


def describe(value):
    if inspect.isclass(value) and issubclass(value, Enum):
        return dict.fromkeys(value.__members__)
    if inspect.isclass(value):
        return {name: describe(member) for name, member in vars(value).items()}
    if not callable(value):
        return None
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # written in C
        return None
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [(p.name, p.default is not p.empty) for p in named]


def public(names):
    """Leave out private names, those that Cython adds, and special methods."""
    return {
        name: public(inner) if isinstance(inner, dict) else inner
        for name, inner in names.items()
        if not name.startswith("_")
    }


def source(name, suffix):
    return (SOURCES / name.replace(".", "/")).with_suffix(suffix).read_text()


def compare(name, module):
    stub = names_in_stub(ast.parse(source(name, ".pyi")).body)
    assert public(stub) == public(names_in_module(module))
    compare_constructors(name, stub)


def compare_constructors(name, stub):
    """Constructors have no signature at run time, so their parameters come from the source."""
    for text in re.split(r"^cdef class ", source(name, ".pyx"), flags=re.MULTILINE)[1:]:
        class_name = re.match(r"\w+", text).group()
        # Constructors with a star pass all their arguments on.
        found = re.search(r"^    def __c?init__\(\s*self, ([^*)]*)\)", text, re.MULTILINE)
        if found:
            texts = found.group(1).strip().removesuffix(",").split(",")
            parameters = [parameter_in_source(text) for text in texts]
            assert stub[class_name]["__init__"][1:] == parameters, class_name


def parameter_in_source(text):
    name, *default = text.replace("not None", "").split("=")
    return name.split()[-1], bool(default)


@pytest.mark.parametrize("name", sorted(STUBS - {MPI}))
def test_a_stub_lists_the_names_of_its_module(name):
    compare(name, importlib.import_module(f"bsbpool._core.{name}"))


IN_A_PROCESS_WITH_MPI = f"""
import sys
import mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
from bsbpool.services.channels import mpi_module
sys.path.insert(0, sys.argv[1])
import test_stubs
test_stubs.compare("{MPI}", mpi_module())
"""


def test_the_stub_of_the_mpi_module():
    pytest.importorskip("mpi4py")
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", IN_A_PROCESS_WITH_MPI, here]
    done = subprocess.run(command, capture_output=True, text=True)
    if "DependencyError" in done.stderr:
        pytest.skip("built without a module for this MPI")
    assert done.returncode == 0, done.stderr


def test_every_module_has_a_stub():
    assert modules(".pyx") == STUBS
