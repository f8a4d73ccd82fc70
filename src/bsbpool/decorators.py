"""Decorators for functions whose calls have options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, Unpack

from bsbpool._core.jobs.handle import OptionedFunction
from bsbpool.naming import brief
from bsbpool.options import JobOptions, OptionValues, make_options

P = ParamSpec("P")
T = TypeVar("T")


class JobFunction(OptionedFunction, Generic[P, T]):
    """A function whose calls as jobs have options. A direct call calls the function.

    Parameters
    ----------
    function : callable
        The function.
    options : JobOptions
        The options of jobs that call it.

    Attributes
    ----------
    function : callable
        The function.
    options : JobOptions
        The options.
    """

    def __init__(self, function: Callable[P, T], options: JobOptions) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function."""
        result: T = self.function(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.function!r}>"

    def __reduce__(self) -> Any:
        from bsbpool.by_name import is_importable

        if self.__module__ != "__main__" and is_importable(self):
            return vars(self)["__qualname__"]
        return type(self), (self.function, self.options)


def job(**options: Unpack[OptionValues]) -> Callable[[Callable[P, T]], JobFunction[P, T]]:
    """Give the jobs that call a function options.

    Parameters
    ----------
    **options
        The options, see `bsbpool.options.JobOptions`. Options of a view replace them.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> import bsbpool
    >>> @bsbpool.job(name="square", retries=2)
    ... def square(owner, x):
    ...     return x * x
    >>> with bsbpool.create_job_pool(quiet=True) as pool:
    ...     job = pool.submit(square, 3)
    ...     pool.execute()
    ...     print(job.label, job.result, square(None, 4))
    job 0 'square' 9 16
    """

    def decorate(function: Callable[P, T]) -> JobFunction[P, T]:
        if isinstance(function, JobFunction):
            return JobFunction(function.function, function.options.updated(options, "job"))
        if not callable(function):
            raise TypeError(f"job() decorates functions, got {brief(function)}")
        return JobFunction(function, make_options(options, "job"))

    return decorate


def requires(check: Callable[[], object]) -> Callable[[Callable[P, T]], JobFunction[P, T]]:
    """Run a function only on ranks where a check succeeds.

    Parameters
    ----------
    check : callable
        Called without arguments on the rank that has been chosen for the job. If it raises
        `UnmetDependency`, the job goes to another rank; if no rank is left, the job fails.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> import bsbpool, importlib.util
    >>> def has_numpy():
    ...     if importlib.util.find_spec("numpy") is None:
    ...         raise bsbpool.UnmetDependency("numpy is not installed")
    >>> @bsbpool.requires(has_numpy)
    ... def zeros(owner, n):
    ...     import numpy
    ...     return numpy.zeros(n)
    >>> with bsbpool.create_job_pool(quiet=True) as pool:
    ...     job = pool.submit(zeros, 2)
    ...     pool.execute()
    ...     print(job.result)
    [0. 0.]
    """
    if not callable(check):
        raise TypeError(f"requires() needs a function, got {brief(check)}")

    def decorate(function: Callable[P, T]) -> JobFunction[P, T]:
        before = function.options.requires if isinstance(function, JobFunction) else ()
        return job(requires=(check, *before))(function)

    return decorate
