"""Functions that run on engines when they are called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bsbpool.integrations.ipyparallel._partition import flatten, join, parts_of

if TYPE_CHECKING:
    from bsbpool.integrations.ipyparallel._roles import CallingView


class RemoteFunction:
    """RemoteFunction: a function that runs on the engines of a view.

    Parameters
    ----------
    view : View
        The view.
    f : callable
        The function.
    block : bool, optional
        Whether a call waits for the result; by default the flag of the view.
    **flags
        Further flags of the view for the calls.
    """

    def __init__(
        self, view: CallingView, f: Callable[..., Any], block: bool | None = None, **flags: Any
    ) -> None:
        self.view, self.func, self.block, self.flags = view, f, block, flags
        functools.update_wrapper(self, f, updated=())
        own = f"{type(self).__name__} wrapping:\n\n{f.__name__}"
        self.__doc__ = f"{own}\n\n{f.__doc__ or ''}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.func!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function on the engines."""
        block = self.view.block if self.block is None else self.block
        with self.view.temp_flags(block=block, **self.flags):
            return self.view.apply(self.func, *args, **kwargs)


class ParallelFunction(RemoteFunction):
    """ParallelFunction: a function of sequences; each engine gets a part of them.

    Parameters
    ----------
    view, f, block, **flags
        As of `RemoteFunction`.
    dist : {"b", "r"}
        Whether parts are blocks, or every n-th item.
    chunksize : int, optional
        The number of items of a part; by default each engine gets one part.
    """

    def __init__(
        self,
        view: CallingView,
        f: Callable[..., Any],
        dist: str = "b",
        block: bool | None = None,
        chunksize: int | None = None,
        **flags: Any,
    ) -> None:
        super().__init__(view, f, block, **flags)
        self.dist, self.chunksize = dist, chunksize

    def __call__(self, *sequences: Any) -> Any:
        """Call the function with a part of each sequence on each engine; join the results."""
        return self._run(self.func, sequences)

    def map(self, *sequences: Any) -> Any:
        """Call the function with each item of the sequences."""
        block = self.view.block if self.block is None else self.block
        with self.view.temp_flags(**self.flags):
            return self.view.map(self.func, *sequences, block=block)

    def _run(self, f: Callable[..., Any], sequences: tuple[Any, ...]) -> Any:
        items = [each if hasattr(each, "__len__") else list(each) for each in sequences]
        length = min(map(len, items))
        n = max(min(len(self.view), length), 1)
        if self.chunksize is not None:
            n = -(-length // self.chunksize)
        pieces = zip(*(parts_of(each[:length], n, self.dist) for each in items), strict=True)
        block = self.view.block if self.block is None else self.block
        with self.view.temp_flags(**self.flags):
            return self.view.map(
                f, *zip(*pieces, strict=True), block=block, join=lambda parts: join(flatten(parts))
            )


def remote(
    view: CallingView, block: bool | None = None, **flags: Any
) -> Callable[[Callable[..., Any]], RemoteFunction]:
    """Let a function run on the engines of a view when it is called.

    Parameters
    ----------
    view : View
        The view.
    block : bool, optional
        Whether a call waits for the result; by default the flag of the view.
    **flags
        Further flags of the view for the calls.
    """
    return lambda f: RemoteFunction(view, f, block, **flags)


def parallel(
    view: CallingView,
    dist: str = "b",
    block: bool | None = None,
    ordered: bool = True,
    **flags: Any,
) -> Callable[[Callable[..., Any]], ParallelFunction]:
    """Let a function of sequences run on the engines of a view, on a part of them each.

    Parameters
    ----------
    view : View
        The view.
    dist : {"b", "r"}
        Whether parts are blocks, or every n-th item.
    block : bool, optional
        Whether a call waits for the result; by default the flag of the view.
    ordered : bool
        Accepted for compatibility: results are in order.
    **flags
        Further flags of the view for the calls.
    """
    return lambda f: ParallelFunction(view, f, dist, block, **flags)
