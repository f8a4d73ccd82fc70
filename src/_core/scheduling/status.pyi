from enum import IntEnum

class Status(IntEnum):
    PENDING = 0
    QUEUED = 1
    RUNNING = 2
    SUCCESS = 3
    FAILED = 4
    CANCELLED = 5
    ABORTED = 6

def transitions() -> dict[Status, tuple[Status, ...]]: ...
def terminal() -> frozenset[Status]: ...
