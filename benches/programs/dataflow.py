"""A chain of jobs, each with the one before as an argument, or as a dependency."""

from benches.programs.common import Meter, options, say
from bsbpool import create_job_pool


def following(owner, number: int) -> int:
    return number + 1


def main() -> None:
    given = options(jobs=5_000, deps=False)
    with create_job_pool(quiet=True) as pool:
        meter = Meter()
        if pool.is_main():
            last = pool.submit(following, 0)
            for number in range(1, given.jobs):
                if given.deps:
                    last = pool.submit(following, number, deps=[last])
                else:
                    last = pool.submit(following, last)
        pool.execute()
        if pool.is_main():
            figures = meter.read()
            if last.result != given.jobs:
                raise AssertionError(f"wrong result {last.result}")
            say(jobs=given.jobs, **figures)


if __name__ == "__main__":
    main()
