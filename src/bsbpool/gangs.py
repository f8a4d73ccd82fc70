"""Jobs that several ranks run at one time: their options, on the main rank."""

from __future__ import annotations

from collections.abc import Collection

from bsbpool.options import JobOptions

_EXCLUDED = {
    "resources": "use targets=[...] for ranks that have them",
    "requires": "check in the job, or use targets=[...]",
    "follow": "use targets=[...]",
}
"""Options that say something about one rank, and what to use in place of them."""


def check_options(
    options: JobOptions,
    workers: Collection[int],
    parallel: bool,
    follow: object = None,
    main_works: bool = False,
) -> None:
    """Check the options of a job on several ranks.

    Parameters
    ----------
    options : JobOptions
        The options.
    workers : collection of int
        The ranks that can run jobs.
    parallel : bool
        Whether other ranks run the jobs.
    follow : object, optional
        The value of `follow`, if it is not that of `options`.
    main_works : bool
        Whether rank 0 runs jobs, too.

    Raises
    ------
    ValueError
        When it could never run.
    """
    ranks = options.ranks
    if main_works:
        raise ValueError(
            f"ranks={ranks} cannot be used together with main_works=True; use main_works=False"
        )
    for name, remedy in _EXCLUDED.items():
        value = (name == "follow" and follow) or getattr(options, name)
        if value:
            raise ValueError(f"{name}={value!r} cannot be used with ranks={ranks}; {remedy}")
    if options.keep == "worker":
        raise ValueError(f"keep='worker' cannot be used with ranks={ranks}; use keep='main'")
    if not parallel:
        raise ValueError(
            f"ranks={ranks} is more than the 1 worker of this run, which is this process; start "
            f"the program on {ranks + 1} or more processes, for example with mpiexec -n "
            f"{ranks + 1}, or use ranks=1"
        )
    if options.targets is not None:
        alive = sorted(set(options.targets).intersection(workers))
        if ranks > len(alive):
            raise ValueError(
                f"ranks={ranks} is more than the {len(alive)} workers of "
                f"targets={list(options.targets)} that can run jobs; name more ranks in targets, "
                f"or use ranks={max(len(alive), 1)}"
            )
    elif ranks > len(workers):
        raise ValueError(
            f"ranks={ranks} is more than the {len(workers)} workers that can run jobs; use ranks="
            f"{max(len(workers), 1)}, or start the program on {ranks + 1} or more processes"
        )
