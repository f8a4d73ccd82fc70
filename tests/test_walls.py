"""The walls between the rooms: who may import whom, and what importing starts.

The arrows are those of docs/architecture.md. A new module needs a place in
LAYERS or in CORE; an arrow against the order needs a reason in EXCEPTIONS.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bsbpool._core

SRC = Path(__file__).parents[1] / "src"
PACKAGE, ROOMS = SRC / "bsbpool", SRC / "_core"

# ------------------------------------------------------------------ the Python package

LAYERS = [
    ["__main__"],
    ["cli"],
    ["run"],
    ["integrations"],
    ["futures"],
    ["script"],
    # Doors: the names under which people, and bsb, find what is below.
    ["api", "services.pool", "services._pool_listeners"],
    ["listeners"],
    ["pool"],
    ["execution"],
    ["scheduling", "reporting", "submissions", "compat"],
    ["job", "spilling", "remote_errors"],
    ["submission_context", "arguments"],
    ["caching", "serialization", "progress", "workflow", "dependency_failures"],
    ["services", "functions_by_value"],
    ["classes_by_value", "tracebacks"],
    ["by_name"],
    ["naming", "callbacks"],
    ["status", "exceptions", "running", "interrupts"],
    ["forks"],
    ["_core"],
]
"""From the top down; a module imports from lower layers and from its own package."""

ONLY = {
    "listeners": {"listeners", "naming", "progress", "status"},
    "services": {"services", "exceptions", "forks", "running", "_core"},
    "caching": {"caching", "functions_by_value", "exceptions", "naming", "status", "_core"},
    "serialization": {"serialization", "functions_by_value", "by_name", "forks"},
    "remote_errors": {
        "serialization", "functions_by_value", "exceptions", "interrupts", "tracebacks",
    },
    "functions_by_value": {"classes_by_value", "by_name"},
    "classes_by_value": {"by_name"},
    "by_name": {"naming"},
    "naming": {"interrupts"},
    "tracebacks": set(),
    "dependency_failures": {"exceptions", "status"},
    "progress": {"progress", "status", "_core"},
    "status": set(),
    "exceptions": set(),
}
"""For some, all that they may import."""

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(importer, imported): why it is against the order all the same."""

LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room_of(module):
    """Return the longest leading part of a module's name that has a layer, else its first part."""
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in LEVELS:
            return ".".join(parts[:n])
    return parts[0]


def imports_of(path):
    """Yield what a file imports of bsbpool, lazily or not, but not for type checkers only."""
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name[len("bsbpool.") :] for name in names if name.startswith("bsbpool."))


def is_module(name):
    return any((PACKAGE / f"{name.split('.')[0]}{end}").exists() for end in ("", ".py"))


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
ARROWS = sorted(
    {
        (module, room_of(imported))
        for module, path in FILES.items()
        if module  # the package itself only lists names
        for imported in imports_of(path)
        if imported.startswith("_core.") or is_module(imported)
    }
)


@pytest.mark.parametrize(("module", "imported"), ARROWS)
def test_imports_lead_downwards(module, imported):
    room = room_of(module)
    if room == imported or (module, imported) in EXCEPTIONS or not {room, imported} <= set(LEVELS):
        return
    assert LEVELS[room] < LEVELS[imported], f"{module} may not import {imported}"
    assert imported in ONLY.get(room, {imported}), f"{module} may not import {imported}"


def test_the_exceptions_are_needed():
    assert set(EXCEPTIONS) <= set(ARROWS)


def test_every_module_has_a_place():
    assert {module for module in FILES if module and room_of(module) not in LEVELS} == set()


def test_the_package_itself_imports_nothing():
    assert list(imports_of(PACKAGE / "__init__.py")) == []


# ------------------------------------------------------------------ the compiled rooms

TABLES = {"graph", "ready", "cache", "workers"}
CORE = {
    "vector": set(),
    "pause": set(),
    "status": set(),
    "graph": {"vector"},
    "ready": {"vector"},
    "cache": {"vector"},
    "workers": {"vector"},
    "dispatcher": {"vector", "status", *TABLES},
    "lines": {"dispatcher", "ready", "status", "workers"},
    "engine": {"vector", "status", "dispatcher", "lines", *TABLES},
    "invariants": {"vector", "status", "dispatcher", "engine", *TABLES},
    "waits": {"vector", "status", "dispatcher", "engine", *TABLES},
    "tables": {"vector", *TABLES},
    "wire": {"vector"},
    "transport": set(),
    "buffer": {"transport"},
    "frames": {"buffer", "transport", "vector", "wire"},
    "wakeup": set(),
    "epochs": {"transport", "vector", "wire"},
    "membership": {"vector"},
    "channel": {"wakeup", "epochs", "frames", "pause", "membership", "transport", "wire"},
    "plain": set(),
    "calling": set(),
    "handle": set(),
    "dependencies": {"engine", "handle", "vector"},
    "submitter": {
        "engine", "dispatcher", "status", "channel", "dependencies", "handle", "vector",
    },
    "records": {"dispatcher", "engine", "handle", "submitter", "status"},
    "serial": {"calling", "dispatcher", "engine", "handle", "submitter", "status"},
    "watch": {"pause"},
    "crash": set(),
    "process_monitor": set(),
    "countdown": {"cache", "dispatcher", "graph", "pause", "status"},
    "inbox": {"frames", "transport", "wire"},
    "worker": {
        "inbox", "calling", "channel", "crash", "frames", "process_monitor", "pause", "plain",
        "transport", "watch", "wire",
    },
    "outbox": {
        "cache", "channel", "engine", "frames", "handle", "submitter", "pause", "plain", "status",
        "wire",
    },
    "loop": {
        "channel", "dispatcher", "engine", "frames", "handle", "submitter", "lines", "outbox", "pause",
        "plain", "status", "transport", "wire",
    },
    "libmpi": set(),
    "peers": {"libmpi"},
    "travel": {"libmpi", "peers", "transport", "vector", "wire"},
    "mpi": {"libmpi", "peers", "transport", "travel"},
    "sim": {"transport", "vector", "wire"},
    "baton": set(),
    "virtual": {"baton", "sim", "transport"},
}  # fmt: skip
"""What each room may import, for C or for Python."""

DECIDING = ("status", "graph", "ready", "cache", "workers", "dispatcher", "lines")
"""Rooms without input, output or clock: all that they know of C is memory and numbers."""


def source_of(room):
    return "".join(path.read_text() for path in sorted(ROOMS.glob(f"{room}.p[yx][xd]")))


def imports_of_room(room):
    """What a room imports, for C or for Python, but not its own .pxd file."""
    found = re.findall(r"^ *from (\S+) c?import \(?\s*(\w+)", source_of(room), re.MULTILINE)
    names = {f"{home}.{name}" if home == "bsbpool._core" else home for home, name in found}
    names |= set(re.findall(r"^ *c?import (\S+)", source_of(room), re.MULTILINE))
    return names - {f"bsbpool._core.{room}"}


def test_every_room_has_a_place():
    assert {path.stem for path in ROOMS.glob("*.p[yx][xd]")} == set(CORE)


# pytest-mpi would skip a test with the id "mpi".
@pytest.mark.parametrize("room", CORE, ids=lambda room: f"room-{room}")
def test_rooms_import_what_they_may(room):
    ours = {name for name in imports_of_room(room) if name.startswith("bsbpool")}
    assert ours <= {f"bsbpool._core.{other}" for other in CORE[room]}


@pytest.mark.parametrize("room", DECIDING)
def test_what_decides_knows_no_clock_and_no_input(room):
    others = {name for name in imports_of_room(room) if not name.startswith("bsbpool")}
    assert others <= {"libc.stdint", "libc.stdlib", "libc.string"}
    assert set(re.findall(r"extern from (\S+)", source_of(room))) <= {"*:"}


@pytest.mark.parametrize("room", DECIDING)
def test_what_decides_needs_no_interpreter(room):
    signatures = re.findall(r"^cdef [^=\n]*\([^)]*\)[^:\n]*(?:\n|:)", source_of(room), re.MULTILINE)
    assert signatures
    assert [s for s in signatures if not s.rstrip(":\n").endswith("noexcept nogil")] == []


def test_only_one_room_includes_mpi():
    assert [room for room in CORE if "mpi.h" in source_of(room)] == ["libmpi"]


def test_only_the_transport_over_mpi_knows_that_room():
    assert {room for room in CORE if "libmpi" in CORE[room]} == {"peers", "travel", "mpi"}


BUILT = sorted(Path(bsbpool._core.__path__[0]).glob("*.so"))


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.name.split(".")[0])
def test_only_the_mpi_rooms_have_symbols_of_mpi(path):
    """Names of symbols stand between zero bytes in the file."""
    symbols = set(re.findall(rb"\0_?(P?MPI_\w+)(?=\0)", path.read_bytes()))
    if path.name.startswith("mpi_"):
        assert b"MPI_Isend" in symbols
    else:
        assert symbols == set()


# ------------------------------------------------------------------ importing

LOOK = """
import sys, threading
{statement}
heavy = {{
    "mpi4py", "mpilock", "numpy", "bsb", "cloudpickle", "rich", "asyncio", "joblib", "scinexus"
}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert threading.active_count() == 1, threading.enumerate()
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import bsbpool",
        "import bsbpool; dir(bsbpool), bsbpool.__all__, bsbpool.__version__",
        "from bsbpool import JobPool, create_job_pool, pool_cache, register_service",
        "import bsbpool.services, bsbpool.listeners.terminal, bsbpool.cli",
        "import bsbpool.futures, bsbpool.integrations",
        "from bsbpool.integrations import mpi4py_futures, mpipool, schwimmbad",
    ],
)
def test_importing_starts_nothing(statement):
    """No MPI, no threads, nothing on the terminal, nothing heavy."""
    command = [sys.executable, "-c", LOOK.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
