"""Services by name, and the communicator of a single process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

import bsbpool
from bsbpool import services
from bsbpool.exceptions import DependencyError
from bsbpool.services.mpi import MPIService

from .on_ranks import on_ranks

WITHOUT_MPI = "import sys; sys.modules['mpi4py'] = None\n"


def run_python(code, **variables):
    """Run code in a process with a fixed environment; return the completed process."""
    here = os.path.dirname(os.path.dirname(find_spec("bsbpool").origin))
    home = os.path.expanduser("~")  # Open MPI does not start without
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": here, "HOME": home} | variables
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def alone(monkeypatch):
    """Make an `MPIService` as if mpi4py were not installed."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    monkeypatch.setenv("BSB_IGNORE_PARALLEL", "")
    return MPIService()


class TestRegister:
    def test_a_provider_is_found_by_name(self, monkeypatch):
        monkeypatch.setattr(services, "Clock", None, raising=False)  # removed after the test
        provider = object()
        assert services.register_service("Clock", provider) is None
        assert services.Clock is provider

    def test_overrides_a_built_in_service(self, monkeypatch):
        monkeypatch.setattr(services, "MPI", services.MPI)
        services.register_service("MPI", "mine")
        assert services.MPI == "mine"

    def test_of_built_in_services(self):
        assert isinstance(services.MPI, MPIService)
        assert services.MPI is services.MPI
        assert issubclass(services.JobPool, bsbpool.JobPool)
        assert callable(services.pool_cache)
        assert issubclass(services.WorkflowError, ExceptionGroup)

    @pytest.mark.parametrize(
        "touch", [lambda s: s.anything, lambda s: s.anything(), lambda s: hasattr(s, "x")]
    )
    def test_an_unknown_service_is_an_error_when_it_is_used(self, touch):
        unknown = services.SomethingElse  # no error yet
        with pytest.raises(DependencyError, match="SomethingElse is not a registered service"):
            touch(unknown)

    def test_an_unknown_service_can_be_imported(self):
        from bsbpool.services import Anything

        with pytest.raises(DependencyError, match="Anything"):
            _ = Anything.use


class TestSingleProcess:
    def test_is_rank_0_of_1(self, alone):
        assert alone.get_communicator() is None
        assert (alone.get_rank(), alone.get_size()) == (0, 1)
        assert alone.barrier() is None

    def test_communicates_with_itself(self, alone):
        obj = object()
        assert alone.bcast(obj) is alone.bcast(obj, root=0) is obj
        assert alone.gather(obj) == alone.allgather(obj) == [obj]

    def test_abort_ends_the_process(self, alone, capsys):
        with pytest.raises(SystemExit) as raised:
            alone.abort(3)
        assert raised.value.code == 3
        assert capsys.readouterr().out == "MPI Abort called on MockCommunicator\n"

    def test_a_window_shows_the_buffer(self, alone):
        window = alone.window([1, 2])
        buffer = [0, 0]
        window.Lock(0)
        assert window.Get([buffer, None], 0) is buffer
        window.Unlock(0)

    @pytest.mark.parametrize("name", ["try_all", "try_main"])
    def test_has_its_own_error_class(self, alone, name):
        with pytest.raises(ZeroDivisionError), getattr(alone, name)():
            1 / 0  # noqa: B018
        with getattr(alone, name)():
            pass

    @pytest.mark.parametrize("name", ["try_all", "try_main"])
    def test_an_interrupt_is_raised(self, alone, name):
        with pytest.raises(KeyboardInterrupt), getattr(alone, name)():
            raise KeyboardInterrupt

    def test_runs_pools(self, alone, monkeypatch):
        monkeypatch.setattr(services, "MPI", alone)
        with services.JobPool(5, None) as pool:
            job = pool.queue(lambda owner: 5)
            pool.execute()
            assert job.result == 5
            assert pool.is_main()


class TestEnvironment:
    PROBE = WITHOUT_MPI + (
        "import bsbpool.exceptions, bsbpool.services\n"
        "try: print(bsbpool.services.MPI.get_size())\n"
        "except bsbpool.exceptions.DependencyError as error: print(error)\n"
    )

    @pytest.mark.parametrize("name", ["PMI_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALRANKID"])
    def test_of_an_mpi_launcher_requires_mpi4py(self, name):
        said = run_python(self.PROBE, **{name: "1"}).stdout
        assert "MPI runtime detected without parallel support" in said
        assert "pip install" in said
        assert "BSB_IGNORE_PARALLEL" in said

    @pytest.mark.parametrize("value", ["1", ""])
    def test_can_be_ignored(self, value):
        done = run_python(self.PROBE, PMI_RANK="1", BSB_IGNORE_PARALLEL=value)
        assert done.stdout == "1\n"

    def test_without_mpi_is_that_of_a_single_process(self):
        assert run_python(self.PROBE, COMPILER_PATH="/usr/bin").stdout == "1\n"

    def test_lets_pools_run_without_mpi4py(self):
        code = WITHOUT_MPI + (
            "from bsbpool import create_job_pool\n"
            "with create_job_pool(quiet=True) as pool:\n"
            "    pool.submit(lambda owner: 6 * 7)\n"
            "    print(*pool.execute(return_results=True).values(), pool.parallel)\n"
        )
        assert run_python(code).stdout == "42 False\n"


class TestImport:
    def test_starts_nothing(self):
        code = (
            "import sys, threading, json\n"
            "before = set(sys.modules)\n"
            "import bsbpool, bsbpool.services\n"
            "print(json.dumps([sorted(set(sys.modules) - before), threading.active_count()]))\n"
        )
        done = run_python(code)
        loaded, threads = json.loads(done.stdout)
        assert threads == 1
        assert not {"mpi4py", "mpi4py.MPI", "numpy", "rich", "bsb", "mpilock"} & set(loaded)
        assert done.stderr == ""

    @pytest.mark.parametrize(
        "statement",
        [
            "from bsbpool.services import JobPool",
            "from bsbpool.services import MPI, MPILock, WorkflowError, pool_cache",
            "from bsbpool.services import pool; pool.JobPool",
            "from bsbpool.services import mpi, mpilock; mpi.MPIService, mpilock.Fence",
            "from bsbpool.services.pool import Job, Workflow, JobPool",
            "from bsbpool.services.mpi import MPIService",
            "from bsbpool.services._pool_listeners import NonTTYTerminalListener",
            "from bsbpool import *",
        ],
    )
    def test_of_a_service_as_the_first_import(self, statement):
        assert run_python(statement).stderr == ""

    def test_of_all_names(self):
        import bsbpool

        assert set(bsbpool.__all__) <= set(dir(bsbpool))
        for name in bsbpool.__all__:
            assert getattr(bsbpool, name) is not None
        with pytest.raises(AttributeError, match="nonsense"):
            _ = bsbpool.nonsense

    def test_of_chunks_does_not_import_bsb(self):
        code = (
            "import sys\n"
            "from bsbpool import SubmissionContext\n"
            "print(list(SubmissionContext(None, [1, 2]).chunks), 'bsb' in sys.modules)\n"
        )
        assert run_python(code).stdout == "[1, 2] False\n"


@on_ranks(3)
def test_the_real_communicator():
    mpi = services.MPI
    rank = mpi.get_rank()
    assert mpi.get_size() == 3
    assert mpi.bcast(rank, root=2) == 2
    assert mpi.allgather(rank) == [0, 1, 2]
    assert mpi.gather(rank, root=1) == ([0, 1, 2] if rank == 1 else None)
    mpi.barrier()

    def outcome(context, failing):
        try:
            with context:
                if rank in failing:
                    raise KeyError(rank)
        except Exception as error:
            return error
        return None

    ours = outcome(mpi.try_all(), {1})
    assert isinstance(ours, KeyError if rank == 1 else RuntimeError)
    assert rank == 1 or str(ours) == "An error occurred on a different rank"
    ours = outcome(mpi.try_all(OSError("default")), {1})
    assert isinstance(ours, KeyError if rank == 1 else OSError)
    assert outcome(mpi.try_all(), ()) is None
    ours = outcome(mpi.try_main(), {0, 1})
    assert isinstance(ours, KeyError)
    assert ours.args == (0,)
    assert outcome(mpi.try_main(), {1, 2}) is None

    import numpy as np

    buffer = np.full(2, rank)
    window = mpi.window(buffer)
    seen = np.zeros(2, dtype=buffer.dtype)
    window.Lock(2)
    window.Get([seen, mpi._mpi.INT64_T], 2)
    window.Unlock(2)
    assert list(seen) == [2, 2]
    window.Free()
