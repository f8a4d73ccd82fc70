"""Views of particular engines."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bsbpool.integrations.ipyparallel import _engine
from bsbpool.integrations.ipyparallel._partition import joiner, parts_of
from bsbpool.integrations.ipyparallel._pickling import Reference, pack, pack_with
from bsbpool.integrations.ipyparallel.async_result import AsyncResult
from bsbpool.integrations.ipyparallel.map_result import AsyncMapResult
from bsbpool.integrations.ipyparallel.view import View, as_items
from bsbpool.naming import brief


class DirectView(View):
    """Runs each call on all its engines, and moves data to and from their namespaces.

    Each engine runs its tasks in the order of their submission.

    Examples
    --------
    ::

        view = rc[:]
        view.push({"a": 3})
        view.apply_sync(lambda x: a * x, 2)     # [6, 6, 6] on three engines
    """

    # ------------------------------------------------------------ calls

    def _ids(self, targets: Any = None) -> tuple[list[int], bool]:
        """Return the engines, and whether the result is not a list."""
        targets = self._own(targets)
        single = isinstance(targets, int)
        return self.client.engines_of(targets), single

    def _submit(
        self,
        function: Callable[..., Any],
        argses: list[tuple[Any, ...]],
        ids: list[int],
        label: str | None = None,
    ) -> list[Any]:
        """Send one task to each engine; `argses` has one element for each, or one for all."""
        tasks = []
        for index, id in enumerate(ids):
            task = self._new_task(function, argses[index % len(argses)], label)
            self.client.engines.submit(task, (id,))
            tasks.append(task)
        return tasks

    def call_on_engines(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        name: str,
        targets: Any = None,
        label: str | None = None,
    ) -> AsyncResult:
        """For internal use: let the engines call a function of `_engine`."""
        ids, single = self._ids(targets)
        tasks = self._submit(function, [args], ids, label)
        return AsyncResult(self.client, tasks, name, single).watch()

    def _apply(
        self, f: Any, args: tuple[Any, ...], kwargs: dict[str, Any], block: bool
    ) -> AsyncResult:
        ids, single = self._ids()
        packed, size = self._pack((f, args, kwargs))
        tasks = self._submit(_engine.run_apply, [packed], ids)
        name = getattr(f, "__name__", "call")
        return AsyncResult(
            self.client, tasks, name, single, tracker=self._tracker(tasks, size)
        ).watch()

    def _map_tasks(
        self,
        f: Any,
        sequences: Any,
        return_exceptions: bool,
        label: str | None,
        track: bool = False,
    ) -> Any:
        items = as_items(sequences)
        length = min(map(len, items))
        ids, _ = self._ids()
        ids = ids[: max(length, 1)]
        pieces = [parts_of(each[:length], len(ids), "b") for each in items]
        packed = [
            self._pack((f, list(parts), return_exceptions)) for parts in zip(*pieces, strict=True)
        ]
        tasks = self._submit(_engine.run_map, [args for args, _ in packed], ids, label)
        tracker = self._tracker(tasks, sum(size for _, size in packed), track)
        return tasks, [len(part) for part in pieces[0]], tracker

    def execute(
        self,
        code: str,
        silent: bool = True,
        targets: Any = None,
        block: bool | None = None,
        label: str | None = None,
    ) -> AsyncResult:
        """Execute code in the namespaces of engines.

        Parameters
        ----------
        code : str
            The code; with IPython also magics.
        silent : bool
            Whether the value of the last expression is dropped.
        targets : object, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; errors are then raised here.
        label : str, optional
            A label for the metadata.
        """
        args = code, silent
        result = self.call_on_engines(_engine.run_execute, args, "execute", targets, label)
        if self.block if block is None else block:
            result.get()
        return result

    def run(self, filename: str, targets: Any = None, block: bool | None = None) -> AsyncResult:
        """Execute a file of the client in the namespaces of engines."""
        return self.execute(Path(filename).read_text() + "\n", True, targets, block)

    # ------------------------------------------------------------ data

    def push(
        self,
        ns: Mapping[str, Any],
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
    ) -> Any:
        """Set variables in the namespaces of engines.

        Parameters
        ----------
        ns : mapping of str to object
            The variables.
        targets : object, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait.
        track : bool, optional
            Whether the result knows when the values have been sent.
        """
        if not isinstance(ns, Mapping):
            raise TypeError(f"ns must be a dictionary, got {brief(ns)}")
        ids, single = self._ids(targets)
        packed, size = self._pack_data(dict(ns))
        tasks = self._submit(_engine.run_push, [packed], ids)
        tracker = self._tracker(tasks, size, track)
        result = AsyncResult(self.client, tasks, "push", single, tracker=tracker).watch()
        return self._finish(result, self.block if block is None else block)

    def _pack_data(self, obj: Any) -> tuple[tuple[Any, ...], int]:
        return self._pack(obj, pack)

    def update(self, ns: Mapping[str, Any]) -> Any:
        """Set variables, like `dict.update`; see `push`."""
        return self.push(ns, block=self.block, track=self.track)

    def __setitem__(self, key: str, value: Any) -> None:
        self.push({key: value}, block=True)

    def pull(self, names: Any, targets: Any = None, block: bool | None = None) -> Any:
        """Get variables of engines: of each engine one value, or a list for several names."""
        names = names if isinstance(names, str) else tuple(names)
        result = self.call_on_engines(_engine.run_pull, (names,), "pull", targets)
        return self._finish(result, self.block if block is None else block)

    def get(self, key: str) -> Any:
        """Get one variable and wait for it; see `pull`."""
        return self.pull(key, block=True)

    __getitem__ = get

    def scatter(
        self,
        key: str,
        seq: Any,
        dist: str = "b",
        flatten: bool = False,
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
    ) -> Any:
        """Distribute a sequence: each engine gets a part of it as a variable.

        Parameters
        ----------
        key : str
            The name of the variable.
        seq : sequence
            The sequence.
        dist : {"b", "r"}
            Whether parts are blocks, or every n-th item.
        flatten : bool
            Whether a part of one item is the item itself.
        targets : object, optional
            The engines; by default those of the view.
        block, track : bool, optional
            As for `push`.
        """
        ids, _ = self._ids(targets)
        parts = parts_of(as_items([seq])[0], len(ids), dist)
        values = [part[0] if flatten and len(part) == 1 else part for part in parts]
        packed = [self._pack_data({key: value}) for value in values]
        tasks = self._submit(_engine.run_push, [args for args, _ in packed], ids)
        tracker = self._tracker(tasks, sum(size for _, size in packed), track)
        result = AsyncResult(self.client, tasks, "scatter", tracker=tracker).watch()
        return self._finish(result, self.block if block is None else block)

    def gather(
        self, key: str, dist: str = "b", targets: Any = None, block: bool | None = None
    ) -> Any:
        """Join the parts of a sequence that `scatter` has distributed."""
        ids, _ = self._ids(targets)
        tasks = self._submit(_engine.run_pull, [(key,)], ids)
        result = AsyncMapResult(
            self.client, tasks, "gather", lengths=[1] * len(tasks), join=joiner(dist)
        ).watch()
        return self._finish(result, self.block if block is None else block)

    def clear(self, targets: Any = None, block: bool | None = None) -> Any:
        """Empty the namespaces of engines."""
        return self.client.clear(self._own(targets), self.block if block is None else block)

    def activate(self, suffix: str = "") -> None:
        """Register the magics `%px` of this view with IPython.

        Parameters
        ----------
        suffix : str
            Added to the names of the magics.
        """
        from bsbpool.integrations.ipyparallel._magics import activate

        activate(self, suffix)

    # ------------------------------------------------------------ imports

    @contextmanager
    def sync_imports(self, local: bool = True, quiet: bool = False) -> Iterator[None]:
        """Import modules on the engines that the ``with`` block imports.

        Parameters
        ----------
        local : bool
            Whether to import them here as well.
        quiet : bool
            Whether to print nothing.
        """
        original = builtins.__import__
        thread = threading.get_ident()
        depth = 0

        def importing(name: str, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if threading.get_ident() != thread:
                return original(name, *args, **kwargs)
            level = kwargs.get("level", args[3] if len(args) > 3 else 0)
            names = kwargs.get("fromlist", args[2] if len(args) > 2 else None)
            depth += 1
            try:
                if depth == 1 and level == 0:
                    self._import_on_engines(name, names, quiet)
                return original(name, *args, **kwargs) if local or depth > 1 else _Placeholder()
            finally:
                depth -= 1

        builtins.__import__ = importing
        try:
            yield
        finally:
            builtins.__import__ = original

    def _import_on_engines(self, name: str, names: Any, quiet: bool) -> None:
        if names:
            code = f"from {name} import {', '.join(names)}"
            text = f"importing {', '.join(names)} from {name} on engine(s)"
        else:
            code, text = f"import {name}", f"importing {name} on engine(s)"
        if not quiet:
            print(text)
        with_original = builtins.__import__
        self.execute(code, block=True)
        assert builtins.__import__ is with_original

    @property
    def importer(self) -> Any:
        """The context manager of `sync_imports`."""
        return self.sync_imports()

    # ------------------------------------------------------------ pickling

    def use_pickle(self) -> Any:
        """Send functions and arguments in the way of this package, which is the default."""
        self._dump = pack
        return _done()

    def use_cloudpickle(self) -> Any:
        """Send functions and arguments as cloudpickle pickles them, with the client's globals."""
        import cloudpickle

        self._dump = pack_with(cloudpickle)
        return _done()

    def use_dill(self) -> Any:
        """Send functions and arguments as dill pickles them."""
        import dill

        self._dump = pack_with(dill)
        return _done()


class BroadcastView(DirectView):
    """A direct view.

    Parameters
    ----------
    *args : object
        Those of `View`.
    is_coalescing : bool
        Accepted and ignored: each engine has its own result.
    """

    def __init__(self, *args: Any, is_coalescing: bool = False, **flags: Any) -> None:
        self.is_coalescing = is_coalescing
        super().__init__(*args, **flags)


class _Placeholder:
    """Takes the place of a module that is imported on engines only."""

    def __getattr__(self, name: str) -> Any:
        return Reference(name)


def _done() -> Any:
    from concurrent.futures import Future

    future: Future[None] = Future()
    future.set_result(None)
    return future
