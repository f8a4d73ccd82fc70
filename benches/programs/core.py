"""The compiled core alone, and a minimal countdown loop in C, for growing numbers of jobs."""

from benches.programs.common import options, say
from bsbpool._core.testing.baseline import core_bytes, run_bare, run_core

DEPS = 3


def main() -> None:
    given = options(least=10_000, most=10_000_000)
    jobs, bare, core, held = [], [], [], []
    number = given.least
    while number <= given.most:
        # Small numbers are repeated, because their times are short.
        again = max(1, min(20, 1_000_000 // number))
        jobs.append(number)
        bare.append(min(run_bare(number, DEPS) for _ in range(again)))
        core.append(min(run_core(number, DEPS, 1) for _ in range(again)))
        held.append(sum(core_bytes(number, DEPS)))  # jobs and edges
        number *= 10
    say(jobs=jobs, bare=bare, core=core, bytes=held, deps=DEPS)


if __name__ == "__main__":
    main()
