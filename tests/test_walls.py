"""The structure of the code: who may import whom, what is private, and what importing starts.

The layers are those of docs/architecture.md. A new Python module needs a place in LAYERS, a new
package of the core one in CORE_PACKAGES.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bsbpool._core
from helpers.sources import (
    CORE,
    CORE_FILES,
    FILES,
    REPOSITORY,
    circles,
    core_imports,
    core_text,
    imported_names,
    longest_prefix,
    private_accesses,
    python_imports,
)

# ------------------------------------------------------------------ the Python package

LAYERS = [
    ["__main__"],
    ["cli"],
    ["diagnostics"],
    ["simulation", "reporting"],
    ["run"],
    ["integrations"],
    ["futures"],
    ["script"],
    # The names under which users, and BSB, find the modules below.
    ["api", "services.pool", "services._pool_listeners"],
    ["integrations.bsb"],
    ["listeners"],
    ["pool"],
    ["execution", "queueing"],
    ["statistics"],
    ["pool_options", "job_groups", "job_inputs", "worker_data"],
    ["decorators"],
    ["job_control", "placement"],
    ["gangs"],
    ["run_context"],
    ["journal"],
    ["runs", "submitters", "leaving.signals"],
    ["leaving.limit"],
    ["leaving.run_times"],
    ["deadlines"],
    ["scheduling"],
    ["events"],
    ["dependency_failures", "progress", "lifecycle"],
    ["function_job"],
    ["jobs", "spilling", "remote_errors"],
    ["owning_pool", "waiting", "metadata"],
    ["settings", "retries"],
    ["leaving"],
    ["time_limit"],
    ["journal.options"],
    ["options"],
    ["broadcasting"],
    ["option_checks", "dataflow", "resources"],
    ["submission_context", "arguments", "services"],
    ["services.mpilock"],
    ["locking"],
    ["shared_buffers"],
    ["caching", "serialization", "workflow"],
    ["functions_by_value"],
    ["services.channels", "services._util"],
    ["services.mpi"],
    ["services.launchers", "services.node"],
    ["classes_by_value", "tracebacks"],
    ["by_name"],
    ["current"],
    ["naming"],
    ["timers", "job_output", "worker_ranks", "state_dump"],
    ["status", "exceptions", "process"],
    ["logs"],
    ["_core", "_typing"],
]
"""From the top down; a module imports from lower layers and from its own package."""

ONLY = {
    "listeners": {
        "exceptions", "jobs", "listeners", "naming", "process", "progress", "run_context",
        "services.launchers", "statistics", "status", "timers", "worker_ranks", "_core",
    },
    "services": {
        "caching", "exceptions", "services._util", "services.mpi", "services.mpilock",
    },
    "services.channels": {
        "exceptions", "process", "services.mpi", "services.node", "state_dump", "_core",
    },
    "caching": {"caching", "functions_by_value", "exceptions", "naming", "status", "_core"},
    "serialization": {"serialization", "functions_by_value", "by_name", "process"},
    "remote_errors": {
        "serialization", "functions_by_value", "exceptions", "process", "tracebacks",
    },
    "functions_by_value": {"classes_by_value", "by_name"},
    "classes_by_value": {"by_name"},
    "by_name": {"naming"},
    "naming": {"process"},
    "tracebacks": set(),
    "dependency_failures": {"exceptions", "jobs", "options", "status", "_core"},
    "progress": {"jobs", "status", "workflow", "_core"},
    "status": set(),
    "exceptions": set(),
}  # fmt: skip
"""For some, all that they may import."""

LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}


def layer_of(module):
    return longest_prefix(module, LEVELS)


def layered_imports():
    """Yield (module, layer that it imports from) for each module and each import."""
    for module, path in FILES.items():
        if module:  # the package itself only lists names
            for name in imported_names(path):
                if name.startswith("_core.") or longest_prefix(name, FILES):
                    yield module, layer_of(name)


def test_every_module_has_a_layer():
    assert {module for module in FILES if module and not layer_of(module)} == set()
    assert {name for name in LEVELS if name not in (*FILES, "_core")} == set()


def test_imports_lead_to_lower_layers():
    wrong = [
        f"{module} imports {imported}"
        for module, imported in sorted(set(layered_imports()))
        if imported != layer_of(module) and LEVELS[imported] <= LEVELS[layer_of(module)]
    ]
    assert wrong == []


def test_some_modules_import_few_others():
    wrong = [
        f"{module} imports {imported}"
        for module, imported in sorted(set(layered_imports()))
        if imported not in {layer_of(module), "_typing", *ONLY.get(layer_of(module), {imported})}
    ]
    assert wrong == []


def test_no_imports_in_circles():
    assert circles(python_imports()) == []


def test_the_package_itself_imports_nothing_at_once():
    text = FILES[""].read_text()
    at_once = re.findall(r"^(?:from|import) (\S+)", text, re.MULTILINE)
    assert set(at_once) <= {"__future__", "importlib", "bsbpool._typing"}


FOREIGN = {
    "atexit._run_exitfuncs": "run.py ends a program that only rank 0 runs",
    "cloudpickle.cloudpickle": "classes_by_value.py completes how cloudpickle makes classes",
    "of_command._actions": "completion.py marks options whose value is a file",
    "functools._make_key": "the keys of caches are those of functools.lru_cache",
    "os._exit": "ends a process without its exit handlers",
    "strategy._get_connect_args_from_job": "a method of BSB's connection strategies",
    "pickler._dynamic_function_reduce": "a method of cloudpickle's Pickler",
    "sys._current_frames": "state_dump.py prints the stacks of all threads",
    "threading._shutdown": "run.py waits for threads as the interpreter does at its end",
}
"""Private names of other packages, and why they are used."""
NAMEDTUPLE = {"_asdict", "_fields", "_make", "_replace"}
"""Public methods of named tuples."""


def test_private_names_are_used_where_they_are_defined():
    found = [
        f"{module}:{line} {expression}"
        for module, path in FILES.items()
        for line, expression in private_accesses(path)
        if not expression.startswith(tuple(FOREIGN))
        and expression.rpartition(".")[2] not in NAMEDTUPLE
    ]
    assert found == []


NAMES_BSB = {
    "cli": "the command `bsbpool bsb` starts a program of BSB",
    "cli.bsb": "this command",
    "cli.commands": "lists the commands",
    "cli.version": "prints the version of BSB",
    "integrations": "lists the integrations",
    "listeners.otel": "its spans have the attributes of BSB's telemetry",
}
"""Modules that name BSB as well, and why."""


def test_only_the_integration_names_bsb():
    found = [
        f"{module}: {name}"
        for module, path in FILES.items()
        if not module.startswith(("integrations.bsb", "services")) and module not in NAMES_BSB
        for name in re.findall(r"\b_*bsb(?!pool)\w*", path.read_text(), re.IGNORECASE)
    ]
    found += [
        f"_core: {path.name}"
        for path in sorted(CORE.rglob("*.p*"))
        if path.suffix in (".py", ".pyx", ".pxd", ".pyi")
        and re.search(r"bsb(?!pool)", path.read_text(), re.IGNORECASE)
    ]
    assert found == []


# ------------------------------------------------------------------ the compiled core

CORE_PACKAGES = {
    "bits": set(),
    "vector": set(),
    "processes": set(),
    "scheduling": {"bits", "vector"},
    "protocol": {"vector"},
    "comm": {"processes", "protocol", "vector"},
    "locking": {"comm", "processes", "vector"},
    "jobs": {"scheduling", "comm", "vector"},
    "journal": {"scheduling", "protocol", "jobs", "vector"},
    "runtime": {"scheduling", "protocol", "comm", "jobs", "bits", "vector"},
    "testing": {"scheduling", "protocol", "comm", "jobs", "runtime", "bits", "vector"},
    "simulation": {"scheduling", "protocol", "comm", "bits", "vector"},
}
"""The packages of the core, and which others each may import."""


def package_of(module):
    return module.partition(".")[0]


def modules_of_scheduling():
    return [module for module in CORE_FILES if package_of(module) == "scheduling"]


# pytest-mpi would skip a test whose id has the word "mpi".
@pytest.mark.parametrize("module", CORE_FILES, ids=lambda name: f"core-{name.replace('.', '-')}")
def test_packages_of_the_core_import_in_one_direction(module):
    ours = {name for name in core_imports(module) if name.startswith("bsbpool")}
    assert all(name.startswith("bsbpool._core.") for name in ours)
    packages = {package_of(name.removeprefix("bsbpool._core.")) for name in ours}
    package = package_of(module)
    assert packages <= CORE_PACKAGES[package] | {package}


def test_no_imports_of_the_core_in_circles():
    prefix = "bsbpool._core."
    graph = {
        module: {n.removeprefix(prefix) for n in core_imports(module) if n.startswith(prefix)}
        for module in CORE_FILES
    }
    assert circles(graph) == []


USE = re.compile(r"""(?<!["\w.])((?:\w+\.)*\w+)\.(_[a-z]\w*)""")
"""An attribute with a private name, and its owner; not inside of a string of dotted names."""


@pytest.mark.parametrize("module", CORE_FILES, ids=lambda name: f"core-{name.replace('.', '-')}")
def test_private_names_of_the_core_are_used_where_they_are_defined(module):
    text = core_text(module)
    found = [
        f"{owner}.{name}"
        for owner, name in USE.findall(text)
        if owner not in ("self", "cls", "bsbpool")
        and not re.search(rf"^\s*(?:cdef|cpdef|def|class)\b.*\b{name}\b", text, re.MULTILINE)
    ]
    assert found == []


@pytest.mark.parametrize("module", modules_of_scheduling())
def test_scheduling_uses_no_clock_and_no_input_or_output(module):
    imported = core_imports(module, (".pyx", ".pxd"))
    others = {name for name in imported if not name.startswith("bsbpool")}
    assert others <= {"cython", "enum", "libc.stdint", "libc.stdlib", "libc.string"}
    assert set(re.findall(r"extern from (\S+)", core_text(module))) <= {"*:", '"<pthread.h>"'}


@pytest.mark.parametrize("module", modules_of_scheduling())
def test_functions_of_scheduling_need_no_interpreter(module):
    """Except in the modules of the engine, whose methods Python calls."""
    text = core_text(module)
    if "cdef class" in text:  # its methods hold the GIL
        assert module.startswith("scheduling.engine")
        return
    functions = re.findall(r"^cdef [^=\n]*\([^)]*\)[^:\n]*(?:\n|:)", text, re.MULTILINE)
    assert functions
    assert [f for f in functions if not f.rstrip(":\n").endswith("noexcept nogil")] == []


def test_only_one_module_includes_mpi():
    assert [module for module in CORE_FILES if "mpi.h" in core_text(module)] == ["comm.mpi.api"]
    users = {m for m in CORE_FILES if "bsbpool._core.comm.mpi.api" in core_imports(m)}
    assert {user.rpartition(".")[0] for user in users} == {"comm.mpi"}


LIBRARIES = sorted(Path(bsbpool._core.__path__[0]).glob("*.so"))


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: f"lib-{path.name.split('.')[0]}")
def test_only_the_modules_of_mpi_have_symbols_of_mpi(path):
    """Names of symbols stand between zero bytes in the file."""
    symbols = set(re.findall(rb"\0_?(P?MPI_\w+)(?=\0)", path.read_bytes()))
    if path.name.startswith("mpi_"):
        assert b"MPI_Isend" in symbols
    else:
        assert symbols == set()


def listed_in_cmake(variable):
    text = (REPOSITORY / "CMakeLists.txt").read_text()
    return set(re.search(rf"^set\({variable}\s([^)]*)\)", text, re.MULTILINE).group(1).split())


def test_all_lists_of_compiled_modules_are_the_same():
    """CMake, the finder and the files; each module of MPI is a library of its own."""
    files = {
        path.relative_to(CORE).with_suffix("").as_posix()
        for path in CORE.rglob("*.pyx")
        if "mpi" not in path.parts
    }
    testing = {name for name in files if name.startswith("testing/")}
    assert listed_in_cmake("MODULES") == files - testing
    assert listed_in_cmake("TESTING_MODULES") == testing
    in_finder = {
        f"{package}/{module}"
        for package, modules in bsbpool._core.MODULES.items()
        for module in modules
    }
    assert in_finder == files


def test_the_package_uses_no_module_of_tests():
    users = [m for m, path in FILES.items() if "_core.testing" in path.read_text()]
    assert users == []
    option = re.search(r"option\(BSBPOOL_TESTING .*\)", (REPOSITORY / "CMakeLists.txt").read_text())
    assert option.group().endswith(" OFF)")
    if not any(path.name.startswith("_testing.") for path in LIBRARIES):
        assert not Path(bsbpool._core.__path__[0], "testing").exists()


# ------------------------------------------------------------------ sizes

MAX_LINES = 400


def test_no_source_file_is_longer_than_400_lines():
    files = [path for paths in CORE_FILES.values() for path in paths] + list(FILES.values())
    assert [path for path in files if path.read_text().count("\n") > MAX_LINES] == []


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
    """No MPI, no threads, nothing on the terminal, no large package."""
    command = [sys.executable, "-c", LOOK.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
