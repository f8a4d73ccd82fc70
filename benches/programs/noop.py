"""No-op or busy jobs: queue each, execute all, check the results."""

from __future__ import annotations

from statistics import median

from benches.programs.common import Meter, noop, options, say, spinning
from bsbpool import create_job_pool


class Counter:
    """A listener that counts events."""

    def __init__(self) -> None:
        self.events = 0

    def __call__(self, progress: object) -> None:
        self.events += 1


def once(jobs: int, bulk: bool, listen: bool, us: float) -> dict[str, float] | None:
    """Run one pool; return the main rank's figures."""
    function = spinning if us else noop
    argses = [(number, us) if us else (number,) for number in range(jobs)]
    counter = Counter()
    with create_job_pool(quiet=True) as pool:
        if listen:
            pool.add_listener(counter)
        meter = Meter()
        if pool.is_main():
            if bulk:
                pool.queue_many(function, argses)
            else:
                for args in argses:
                    pool.queue(function, args)
        results = pool.execute(return_results=True)
        figures = meter.read()
        if not pool.is_main():
            return None
    assert list(results.values()) == list(range(jobs))
    assert not listen or counter.events >= 2 * jobs
    return figures


def main() -> None:
    given = options(jobs=1000, bulk=False, listen=False, us=0.0, repeats=1)
    runs = [once(given.jobs, given.bulk, given.listen, given.us) for _ in range(given.repeats)]
    if runs[0] is not None:
        say(jobs=given.jobs, **{key: median(run[key] for run in runs) for key in runs[0]})


if __name__ == "__main__":
    main()
