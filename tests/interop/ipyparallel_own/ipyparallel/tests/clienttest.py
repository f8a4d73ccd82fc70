"""What the tests share: the base class of their classes, and functions that engines run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipyparallel as ipp
import pytest
from ipyparallel import error

# ------------------------------------------------------------------ functions for engines


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def raiser(kind: type[BaseException]) -> None:
    raise kind()


def crash() -> None:
    os._exit(1)


def conditional_crash(condition: bool) -> None:
    if condition:
        crash()


def generate_output() -> Any:
    from IPython.display import HTML, Math, display

    for number, shown in [("", HTML("<b>HTML</b>")), ("2", Math(r"\alpha=\beta"))]:
        print(f"stdout{number}")
        print(f"stderr{number}", file=sys.stderr)
        display(shown)
    return Math("42")


# ------------------------------------------------------------------ checks


def skip_without(*names: str) -> Callable[[Any], Any]:
    """All packages must be installed: a test that is skipped fails the run."""
    return lambda test: test


@contextmanager
def raises_remote(kind: type[BaseException] | str) -> Iterator[None]:
    """Check that engines raise an error; of several errors, the first one counts."""
    with pytest.raises(error.RemoteError) as caught:
        yield
    raised = _first(caught.value)
    name = kind if isinstance(kind, str) else kind.__name__
    assert raised.ename == name, "\n".join(raised.render_traceback())


def _first(raised: error.RemoteError) -> error.RemoteError:
    if isinstance(raised, error.AlreadyDisplayedError):
        return _first(raised.original_error)
    if not isinstance(raised, error.CompositeError):
        return raised
    with pytest.raises(error.RemoteError) as caught:
        raised.raise_exception()
    return caught.value


def add_engines(n: int = 1, total: bool = False) -> list[Any]:
    """Check that there are enough engines: none can be added."""
    with ipp.Client() as client:
        assert total and len(client) >= n, "the engines are the ranks, so none can be added"
    return []


class ClusterTestCase:
    """A test with a client; `engine_count` is how many engines it needs."""

    timeout = 10
    engine_count = 2

    def setup_method(self) -> None:
        self.client = self.connect_client()
        self.client.clear(block=True)
        self.minimum_engines(self.engine_count)

    def teardown_method(self) -> None:
        self.client[:].use_pickle()
        assert self.client.wait(timeout=self.timeout), "the test has left tasks that do not end"
        self.client.close()

    def connect_client(self) -> Any:
        """Return a client with a private attribute to which tests compare what errors tell."""
        client: Any = ipp.Client(profile="iptest")
        client._engines = dict(client.engines.uuids)
        return client

    def minimum_engines(self, n: int = 1, block: bool = True) -> None:
        assert len(self.client) >= n, "the engines are the ranks, so none can be added"

    def add_engines(self, n: int = 1, block: bool = True) -> None:
        pytest.fail("the engines are the ranks, so none can be added")

    def assertRaisesRemote(self, kind: Any, f: Callable[..., Any], *args: Any, **kw: Any) -> None:
        with raises_remote(kind):
            f(*args, **kw)
