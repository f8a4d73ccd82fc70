"""The stubs (.pyi) of the compiled modules name what the modules have."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "src" / "_core"
MPI = "comm.mpi.transport"
"""Built once per MPI library, and imported under other names."""


def modules_with(suffix):
    paths = sorted(CORE.rglob(f"*{suffix}"))
    return [".".join(path.relative_to(CORE).with_suffix("").parts) for path in paths]


def source(module, suffix):
    return CORE.joinpath(*module.split(".")).with_suffix(suffix).read_text()


def of_stub(body):
    """Return {name: parameters of a callable, members of a class, or None}."""
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


def compare(name, module):
    stub = of_stub(ast.parse(source(name, ".pyi")).body)
    assert public(stub) == public(of_module(module))
    compare_constructors(name, stub)


def compare_constructors(name, stub):
    """Compare with the source: at run time a constructor has no signature."""
    for kind in re.split(r"^cdef class ", source(name, ".pyx"), flags=re.MULTILINE)[1:]:
        class_name = re.match(r"\w+", kind).group()
        # Not a constructor with `*args`: it passes them to another one.
        made = re.search(r"^    def __c?init__\(\s*self, ([^*)]*)\)", kind, re.MULTILINE)
        if made:
            texts = made.group(1).strip().removesuffix(",").split(",")
            parameters = [parameter_of_source(text) for text in texts]
            assert stub[class_name]["__init__"][1:] == parameters, class_name


def parameter_of_source(text):
    name, *default = text.replace("not None", "").split("=")
    return name.split()[-1], bool(default)


@pytest.mark.parametrize("name", [name for name in modules_with(".pyi") if name != MPI])
def test_a_stub_matches_its_module(name):
    compare(name, importlib.import_module(f"bsbpool._core.{name}"))


IN_A_PROCESS_WITH_MPI = """
import sys
import mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
from bsbpool.services.channels import mpi_module
sys.path.insert(0, sys.argv[1])
import test_stubs
test_stubs.compare(test_stubs.MPI, mpi_module())
"""


def test_the_stub_of_the_mpi_module_matches():
    pytest.importorskip("mpi4py")
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", IN_A_PROCESS_WITH_MPI, here]
    done = subprocess.run(command, capture_output=True, text=True)
    if "DependencyError" in done.stderr:
        pytest.skip("built without a module for this MPI")
    assert done.returncode == 0, done.stderr


def test_every_module_with_public_names_has_a_stub():
    stubs, modules = set(modules_with(".pyi")), set(modules_with(".pyx"))
    assert stubs <= modules
    for name in modules - stubs:
        assert public(of_module(importlib.import_module(f"bsbpool._core.{name}"))) == {}
