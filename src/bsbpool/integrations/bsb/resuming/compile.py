"""A compile of BSB that goes on where an earlier run was cut off.

`install` replaces `Scaffold.compile`, the storage and the pools in the module `bsb.core`, in the
processes of a command with a journal only.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from bsbpool import exceptions
from bsbpool.current import current_job
from bsbpool.integrations.bsb.pool import BsbJobPool
from bsbpool.integrations.bsb.resuming import connectivity, placement
from bsbpool.integrations.bsb.resuming.keys import PhaseKeys, Plan, PlannedJob
from bsbpool.integrations.bsb.resuming.options import NOT_WITH_JOURNAL, ResumeOptions
from bsbpool.integrations.bsb.resuming.pool import ResumablePool
from bsbpool.integrations.bsb.resuming.state import CompileState
from bsbpool.integrations.bsb.resuming.storage import PHASES, ResumableStorage
from bsbpool.journal.contents import JournalContents
from bsbpool.journal.digests import digest_of_key
from bsbpool.logs import logger
from bsbpool.settings import PoolSettings

T = TypeVar("T")
_log = logger("journals")


class ResumableCompile:
    """Compiles a network, and goes on where an earlier run was cut off. All ranks make one.

    Parameters
    ----------
    options : ResumeOptions
        The options of the command.
    comm : MPIService
        All ranks.
    """

    def __init__(self, options: ResumeOptions, comm: Any) -> None:
        self._options = options
        self._comm = comm
        self._is_main = comm.get_rank() == 0
        self._settings = PoolSettings(**options.settings)
        self._phase = ""
        self._pool: ResumablePool | None = None
        self.seed = self._on_main(self._open)

    def _open(self) -> int | None:
        self._storage = ResumableStorage(self._options)
        return self._storage.seed

    def _on_main(self, f: Callable[[], T]) -> T:
        """Call a function on rank 0; return its result, or raise its error, on all ranks."""
        outcome: tuple[Any, str] = None, ""
        if self._is_main:
            try:
                outcome = f(), ""
            except exceptions.JournalError as error:
                outcome = None, str(error)
            except Exception as error:
                _log.exception("the run cannot go on")
                outcome = None, f"{type(error).__name__}: {error}"
        result, problem = self._comm.bcast(outcome)
        if problem:
            raise exceptions.JournalError(problem)
        return result  # type: ignore[no-any-return]

    # ------------------------------------------------------------ called by BSB

    def open_storage(self, original: Any, engine: str, root: Any, *args: Any, **more: Any) -> Any:
        """Return a storage of BSB, whose file is intact."""
        self._on_main(lambda: self._storage.prepare(engine, root))
        return original(engine, root, *args, **more)

    def make_pool(self, *args: Any, **more: Any) -> BsbJobPool:
        """Return the pool of a phase; a job gets a plain one."""
        if not self._phase or current_job() is not None:
            return BsbJobPool(*args, **more)
        state = self._storage.known if self._is_main else CompileState("")
        keys = PhaseKeys(state, self._phase)
        self._pool = ResumablePool(keys, *args, settings=self._settings, **more)
        return self._pool

    def compile(self, original: Callable[..., None], scaffold: Any, **options: Any) -> None:
        """Compile a network."""
        text = json.dumps(scaffold.configuration.__tree__(), sort_keys=True, default=str)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        path = os.path.abspath(scaffold.storage.root)
        seed = scaffold.configuration.rng.seed
        clear = bool(options.get("clear"))
        if options.get("append") or options.get("redo"):
            raise exceptions.JournalError(NOT_WITH_JOURNAL)
        clears = self._on_main(lambda: self._decide(digest, path, clear))
        if clears is None:  # not a network of this journal: BSB refuses it
            original(scaffold, **options)
            return
        if clears:
            scaffold.clear()
        self._on_main(lambda: self._begin(digest, seed))
        for phase in PHASES:
            name = f"run_{phase}"
            run = functools.partial(self._run_phase, phase, getattr(scaffold, name), scaffold)
            setattr(scaffold, name, run)
        try:
            options.update(clear=False, append=True, redo=False)
            original(scaffold, **options)
        finally:
            for phase in PHASES:
                delattr(scaffold, f"run_{phase}")
        self._on_main(self._finish)

    # ------------------------------------------------------------ on rank 0

    def _decide(self, digest: str, path: str, clear: bool) -> bool | None:
        """Return whether to clear the storage first; None if BSB is to decide."""
        storage = self._storage
        if storage.state is None:
            if not clear:
                return None
            storage.begin(path)
            return True
        state = storage.state
        if not state.digest:
            return False
        if state.digest == digest and not (state.finished and clear):
            return False
        if state.finished and not clear:
            return None
        if not state.finished:
            _log.warning("the configuration of %s has changed; it is built anew", state.storage)
        storage.begin(state.storage)
        return True

    def _begin(self, digest: str, seed: int) -> None:
        state = self._storage.known
        state.digest, state.seed, state.finished = digest, seed, False
        self._storage.save()

    def _finish(self) -> None:
        self._storage.known.finished = True
        self._storage.save()

    # ------------------------------------------------------------ phases

    def _run_phase(
        self,
        phase: str,
        original: Callable[..., None],
        scaffold: Any,
        nodes: Any = None,
        **options: Any,
    ) -> None:
        """Run a phase, after what its jobs wrote in part was deleted."""
        if nodes is None:
            nodes = (
                scaffold.get_dependency_pipelines()
                if phase == "pipelines"
                else list(getattr(scaffold, phase).values())
            )
        self._on_main(lambda: self._before(phase, scaffold, nodes))
        self._phase = phase
        try:
            original(*(() if phase == "pipelines" else (nodes,)), **options)
        except BaseException:
            if self._is_main and self._pool is not None and self._pool.left_clean:
                self._storage.known.began[phase] = self._storage.contents_id()
                self._storage.save()
            raise
        finally:
            self._phase, self._pool = "", None
        if phase != PHASES[-1]:
            self._on_main(lambda: self._storage.save_checkpoint(phase))

    def _before(self, phase: str, scaffold: Any, nodes: Iterable[Any]) -> None:
        """Delete what jobs of a phase wrote in part, if the phase began in an earlier run."""
        storage = self._storage
        state = storage.known
        if phase in state.began and phase != "pipelines":
            jobs = self._plan(phase, scaffold, nodes)
            left = self._left(phase, jobs)
            if left and phase == "placement":
                regions, again = placement.closure(jobs, left)
                self._discard(again)
                self._repair(phase, lambda file: placement.clear(file, regions))
            elif left and phase == "connectivity":
                again = connectivity.closure(jobs, left)
                self._discard(again)
                self._repair(phase, lambda file: connectivity.clear(file, state.storage, again))
            elif left and storage.contents_id() != state.began[phase]:
                names = ", ".join(sorted({str(job.node.name) for job in left}))
                self._restore(phase, f"{names} ({phase}) was cut off, and may have written in part")
        if phase not in state.began:
            state.began[phase] = storage.contents_id()
            storage.save()

    def _plan(self, phase: str, scaffold: Any, nodes: Iterable[Any]) -> list[PlannedJob]:
        """Return the jobs that the nodes of a phase queue."""
        plan = Plan(PhaseKeys(self._storage.known, phase))
        nodes = list(nodes)
        if hasattr(nodes[0] if nodes else None, "sort_deps"):
            nodes = list(type(nodes[0]).sort_deps(nodes))
        for node in nodes:
            if phase == "placement":
                node.queue(plan, scaffold.network.chunk_size)
            else:
                node.queue(plan)
        return plan.jobs

    def _left(self, phase: str, jobs: list[PlannedJob]) -> list[PlannedJob]:
        """Return the jobs that run in this run, since the journal does not have their results."""
        ended = JournalContents(self._options.journal).resumable()
        keys = PhaseKeys(self._storage.known, phase)
        return [job for job in jobs if digest_of_key(keys.key_of(job.text)) not in ended]

    def _discard(self, jobs: list[PlannedJob]) -> None:
        """Let jobs run again, before what they wrote is deleted."""
        again = self._storage.known.again
        for job in jobs:
            again[job.text] = again.get(job.text, 0) + 1
        self._storage.save()

    def _repair(self, phase: str, clear: Callable[[Any], None]) -> None:
        """Change the HDF5 file and check it; restore the checkpoint if it is damaged."""
        path = self._storage.known.storage
        import h5py

        try:
            with h5py.File(path, "a") as file:
                clear(file)
                placement.check(file, path)
                placement.recount(file)
        except Exception as error:  # damaged files raise errors of many classes
            self._restore(phase, f"{type(error).__name__}: {error}")

    def _restore(self, phase: str, problem: str) -> None:
        """Replace the network by the checkpoint, from which this run goes on if it can."""
        began = set(self._storage.known.began)
        self._storage.restore(problem)
        missing = began - set(self._storage.known.began)
        if missing & set(PHASES[: PHASES.index(phase)]):
            raise exceptions.JournalError(
                "the copy was made before a phase that this run has skipped; run the same command "
                "again, which goes on from the copy"
            )


def install(options: ResumeOptions) -> None:
    """Make the command of BSB go on where an earlier run was cut off. Collective.

    Raises
    ------
    JournalError
        If the journal cannot be used.
    """
    import bsb.core
    import bsb.rng
    from bsb.services import MPI

    compiling = ResumableCompile(options, MPI)
    core: Any = bsb.core
    original_compile, boot = core.Scaffold.compile, bsb.rng.RngRootNode.__boot__

    def compile(scaffold: Any, **more: Any) -> None:
        compiling.compile(original_compile, scaffold, **more)

    def boot_with_seed(node: Any) -> None:
        if node.seed is None and compiling.seed is not None:
            node.seed = compiling.seed  # the one that was drawn by the run that was cut off
        boot(node)

    core.Storage = functools.partial(compiling.open_storage, core.Storage)
    core.JobPool = compiling.make_pool
    core.Scaffold.compile = compile
    bsb.rng.RngRootNode.__boot__ = boot_with_seed
