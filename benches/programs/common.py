"""What every measured program shares: a no-op job, a clock, one JSON line at the end."""

import json
import sys
import time

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000


def noop(owner=None, number=0):
    return number


class Meter:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def report(self, jobs=JOBS):
        figures = {
            "jobs": jobs,
            "seconds": time.perf_counter() - self.wall,
            "cpu": time.process_time() - self.cpu,
        }
        print(json.dumps(figures), flush=True)
