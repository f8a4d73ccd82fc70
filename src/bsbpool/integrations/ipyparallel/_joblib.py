"""A backend of joblib that runs on the engines of a view."""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable
from typing import Any

import joblib

from bsbpool import classes_by_value
from bsbpool.integrations.joblib import BsbPoolBackend
from bsbpool.serialization import buffer_collector, out_of_band

GetView = Callable[[], Any]


def register(get_view: GetView, name: str, make_default: bool) -> None:
    """Register a backend with joblib.

    Parameters
    ----------
    get_view : callable
        Returns the balanced view whose engines run the calls.
    name : str
        The name of the backend.
    make_default : bool
        Whether joblib uses it where no backend is named.
    """

    def make(view: Any = None, **options: Any) -> EngineBackend:
        return EngineBackend(get_view if view is None else lambda: view, **options)

    joblib.register_parallel_backend(name, make, make_default=make_default)


class EngineBackend(BsbPoolBackend):
    """Runs the batches of `joblib.Parallel` on engines.

    Functions of the script are sent with the globals that they use, as in other backends of joblib.
    They do not use the namespaces of the engines.

    Parameters
    ----------
    get_view : callable
        Returns the balanced view that runs the batches. It is called when the view is needed.
    nesting_level : int, optional
        The nesting depth of `Parallel` calls, set by joblib.
    inner_max_num_threads : int, optional
        The number of threads that libraries may use on an engine.
    """

    def __init__(
        self,
        get_view: GetView,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
    ) -> None:
        self._get_view = functools.cache(get_view)
        calls: Any = _Calls(self._get_view)
        super().__init__(calls, nesting_level, inner_max_num_threads)

    @property
    def _view(self) -> Any:
        """The view that runs the batches."""
        return self._get_view()

    def _copy(self) -> EngineBackend:
        return type(self)(self._get_view, self.nesting_level, self.inner_max_num_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        # The view stays here: a task cannot submit others.
        return type(self), (type(None), self.nesting_level, self.inner_max_num_threads)

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return the results of a batch, or raise its error."""
        return out.get()


class _Calls:
    """The part of an executor that the backend uses.

    Parameters
    ----------
    get_view : callable
        Returns the view.
    """

    def __init__(self, get_view: GetView) -> None:
        self._get_view = get_view

    @property
    def num_workers(self) -> int:
        """The number of engines."""
        return len(self._get_view())

    def submit(self, batch: Callable[[], Any]) -> Any:
        """Run a batch on an engine that is free."""
        buffers: list[memoryview] = []
        file = io.BytesIO()
        collect = buffer_collector(buffers)
        classes_by_value.Pickler(file, 5, buffer_callback=collect).dump(batch)
        return self._get_view().apply_async(run_batch, file.getvalue(), *out_of_band(buffers))


def run_batch(payload: bytes, *buffers: Any) -> Any:
    """Run a batch, on an engine."""
    return pickle.loads(payload, buffers=buffers)()
