"""Memory of queued jobs and their handles, without their arguments."""

import gc

from benches.programs.common import noop, options, resident, say
from bsbpool import create_job_pool


def main() -> None:
    jobs = options(jobs=1000).jobs
    argses = [(number,) for number in range(jobs)]
    with create_job_pool(quiet=True) as pool:
        pool.queue(noop, (0,))
        gc.collect()
        before = resident()
        handles = [pool.queue(noop, args) for args in argses]
        gc.collect()
        say(jobs=jobs, bytes=resident() - before)
        assert len(handles) == jobs


if __name__ == "__main__":
    main()
