"""Run a program on rank 0, with the other ranks as workers of its executors.

    mpiexec -n 4 python -m bsbpool.run script.py [arguments]
    mpiexec -n 4 python -m bsbpool.run -m module [arguments]
    mpiexec -n 4 python -m bsbpool.run -c code [arguments]

`bsbpool.futures.PoolExecutor()` in the program finds the workers. When the program ends, all
ranks exit with its exit code. Only rank 0 reads the script.
"""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import sys
import threading
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from bsbpool import services
from bsbpool.by_name import main_runs_alone
from bsbpool.futures.registry import worker_groups
from bsbpool.futures.script_file import Script, ScriptFile, keep_lines
from bsbpool.futures.worker_group import WorkerGroup
from bsbpool.process import end_child, raising_on_sigterm, running
from bsbpool.services.channels import channel_of, flush_stdout

USAGE = "usage: python -m bsbpool.run [-m module | -c code | script] [arguments]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a program, or run its calls as a worker; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--serve"]:
        return _serve_spawning_process()
    wants_help = arguments[:1] in (["-h"], ["--help"])
    if wants_help or not arguments or arguments in (["-m"], ["-c"]):
        print(__doc__ if wants_help else USAGE)
        return 0 if wants_help else 2
    service = services.MPI
    is_script = arguments[0] not in ("-m", "-c")
    script = ScriptFile(arguments[0]) if is_script and service.get_rank() == 0 else None
    if service.get_size() == 1:
        sys.path[0] = _module_folder(arguments, script)
        process = os.getpid()
        code = _run(_execute, arguments, script)
        _end_if_child_of(process, code)
        return code
    received: Script | None = None
    if is_script:
        received = service.bcast(script and script.for_workers())
        keep_lines(received)
    sys.path[0] = _module_folder(arguments, received)
    if service.get_rank() > 0:
        return _serve(service, *_main_program(arguments, received))
    return _run_with_workers(service, arguments, script)


def _serve_spawning_process() -> int:
    """Run the calls of the process that spawned this one."""
    from mpi4py import MPI

    from bsbpool.services.mpi import MPIService

    comm = MPI.Comm.Get_parent().Merge(high=True)
    program = comm.bcast(None)
    sys.path[:] = program.path
    worker_groups.siblings = MPI.COMM_WORLD
    channel_of(comm)
    return _serve(MPIService(comm), program.file, program.module)


def _serve(service: Any, file: str | None, module: str | None) -> int:
    from bsbpool.futures.worker import serve_program

    return serve_program(service, file, module)


def _run_with_workers(service: Any, arguments: list[str], script: ScriptFile | None) -> int:
    channel_of(service.get_communicator())  # collective, as on the workers
    main_runs_alone()
    worker_groups.main = WorkerGroup(service)
    running.workers_dedicated = True
    code, process = 1, os.getpid()
    try:
        # At its end the interpreter first calls functions of threading._register_atexit, with which
        # executors end their threads, then joins threads, then calls functions of atexit. The
        # workers must end before the last step and after the other two, because threads may use
        # them. `_shutdown` does the first two; the interpreter's own call of it then does nothing.
        code = _run(_execute, arguments, script) or _run(threading._shutdown)  # type: ignore[attr-defined]
    finally:
        _end_if_child_of(process, code)
        flush_stdout()
        worker_groups.main.close(code)
    return code


def _end_if_child_of(process: int, code: int) -> None:
    """End a child that the program forked, without finalizing the MPI of its parent."""
    if os.getpid() != process:
        atexit._run_exitfuncs()
        end_child(code)


def _run(step: Callable[..., object], *args: Any) -> int:
    """Call a step of the program; return its exit code, and print its error."""
    try:
        with raising_on_sigterm():
            step(*args)
    except SystemExit as end:
        return _exit_code(end)
    except KeyboardInterrupt as interrupt:
        _print_error(interrupt)
        return 130  # the exit code of shells for SIGINT
    except BaseException as error:
        _print_error(error)
        return 1
    return 0


def _execute(arguments: list[str], script: ScriptFile | None) -> None:
    kind, *rest = arguments
    if kind == "-m":
        sys.argv = rest
        code, module = _load_module(rest[0])
        sys.argv[0] = module.__file__ or rest[0]
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        code = compile(rest[0], "<string>", "exec", dont_inherit=True)
        module = types.ModuleType("__main__")
    else:
        assert script is not None
        sys.argv = arguments
        code, module = _load_script(script)
    # Never restored: calls that wait when the program ends are pickled with names of this module.
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


def _module_folder(arguments: list[str], script: ScriptFile | Script | None) -> str:
    """Return the folder of `sys.path` in which a program finds its own modules."""
    if script is not None:
        return script.folder
    return os.getcwd() if arguments[0] == "-m" else ""


def _load_script(script: ScriptFile) -> tuple[types.CodeType, types.ModuleType]:
    """Return the code of a script and a module for its globals.

    As in the interpreter, the script of a folder or an archive is the `__main__` module in it.
    """
    module = types.ModuleType("__main__")
    module.__file__ = script.file
    if script.contains_modules:
        spec = script.spec
        code = getattr(spec and spec.loader, "get_code", lambda name: None)("__main__")
        if spec is None or code is None:
            raise SystemExit(f"bsbpool.run: {script.path!r} has no '__main__' module to run.")
        module.__spec__, module.__package__, module.__file__ = spec, "", spec.origin
        return code, module
    if script.error is not None:
        print(
            f"bsbpool.run: cannot open {script.path!r}: {script.error.strerror}", file=sys.stderr
        )
        raise SystemExit(2)
    return compile(script.content, script.path, "exec", dont_inherit=True), module


def _main_program(arguments: list[str], script: Script | None) -> tuple[str | None, str | None]:
    """Return the main script or the main module of a program, without running it."""
    if script is not None:
        return script.file, None
    if arguments[0] == "-c":
        return None, None
    spec = None
    with suppress(Exception, SystemExit):  # rank 0 reports the error
        spec = importlib.util.find_spec(arguments[1])
    if spec is None:
        return None, None
    if spec.submodule_search_locations is None:
        return spec.origin, spec.name
    return None, spec.name + ".__main__"


def _load_module(name: str) -> tuple[types.CodeType, types.ModuleType]:
    """Return the code of a module or of a package's `__main__`, and a module for its globals."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:  # raised by the packages that contain it
        if getattr(error, "name", name) not in _package_names(name):
            raise
        raise SystemExit(f"bsbpool.run: there is no module named {name} ({error})") from None
    if spec is not None and spec.submodule_search_locations is not None:
        package, name = name, name + ".__main__"
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise SystemExit(
                f"bsbpool.run: {package} is a package without a module named {name}, so it cannot "
                "be run"
            )
    if spec is None:
        raise SystemExit(f"bsbpool.run: there is no module named {name}")
    code = getattr(spec.loader, "get_code", lambda name: None)(name)
    if code is None:
        raise SystemExit(f"bsbpool.run: the module {name} has no Python code, so it cannot be run")
    module = types.ModuleType("__main__")
    module.__spec__, module.__package__, module.__file__ = spec, spec.parent, spec.origin
    return code, module


def _package_names(name: str) -> list[str]:
    """Return the names of the packages that contain a module, and its own name."""
    return list(itertools.accumulate(name.split("."), "{}.{}".format))


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    print(end.code, file=sys.stderr)
    return 1


def _print_error(error: BaseException) -> None:
    """Print an error as the interpreter would, without the frames of this module."""
    step = error.__traceback__
    while step is not None and step.tb_frame.f_code.co_filename == __file__:
        step = step.tb_next
    error.__traceback__ = step  # None for a program that cannot be compiled
    sys.excepthook(type(error), error, error.__traceback__)


if __name__ == "__main__":
    # The program may import this module: it is not read again, and there is one copy of its state.
    sys.modules["bsbpool.run"] = sys.modules["__main__"]
    sys.exit(main())
