"""Jobs that each wait for the one before, to measure latency. Only `execute` is timed."""

from benches.programs.common import Meter, noop, options, say
from bsbpool import create_job_pool


def main() -> None:
    jobs = options(jobs=1000).jobs
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            last: list = []
            for number in range(jobs):
                last = [pool.queue(noop, (number,), deps=last)]
        meter = Meter()
        pool.execute()
        if pool.is_main():
            say(jobs=jobs, **meter.read())


if __name__ == "__main__":
    main()
