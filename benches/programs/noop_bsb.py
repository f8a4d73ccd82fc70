"""No-op jobs in bsb-core's own pool: queue each, check the results."""

from bsb import JobPool

from benches.programs.common import Meter, noop, options, say
from benches.programs.systems.bsb_core import Owner


def main() -> None:
    jobs = options(jobs=1000).jobs
    with JobPool(1, Owner()) as pool:
        meter = Meter()
        if pool.is_main():
            for number in range(jobs):
                pool.queue(noop, (number,))
        results = pool.execute(return_results=True)
        if pool.is_main():
            figures = meter.read()
            assert sorted(results.values()) == list(range(jobs))
            say(jobs=jobs, **figures)


if __name__ == "__main__":
    main()
