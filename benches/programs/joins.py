"""Many jobs that all wait for the same jobs: given as one set, or as an equal set for each."""

import resource

from benches.programs.common import Meter, noop, options, peak, resident, say
from bsbpool import create_job_pool

COPIES = {"same": lambda deps: deps, "lists": list, "sets": set}


def main() -> None:
    given = options(jobs=1000, form="same")
    # A pool that kept every copy would use all memory.
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    copy = COPIES[given.form]
    before = resident()
    with create_job_pool(quiet=True) as pool:
        meter = Meter()
        first = {pool.queue(noop, (number,)) for number in range(given.jobs)}
        parts = [meter.read()]
        for number in range(given.jobs):
            deps = copy(first)  # making it is not counted
            meter = Meter()
            pool.queue(noop, (number,), deps=deps)
            parts.append(meter.read())
        meter = Meter()
        results = pool.execute(return_results=True)
        parts.append(meter.read())
        assert len(results) == 2 * given.jobs
    seconds, cpu = (sum(part[key] for part in parts) for key in ("seconds", "cpu"))
    say(jobs=given.jobs, seconds=seconds, cpu=cpu, bytes=peak() - before)


if __name__ == "__main__":
    main()
