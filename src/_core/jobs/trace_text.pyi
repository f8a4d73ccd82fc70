from collections.abc import Callable
from typing import Any

from bsbpool._core.jobs.job_times import JobTimes
from bsbpool._core.jobs.submission import Submitter

class TraceText:
    def __init__(
        self,
        pool: Submitter,
        times: JobTimes,
        name_of: Callable[[Any], bytes],
        further: Callable[[Any, int], bytes],
        further_of_attempt: Callable[[Any, int], bytes],
        for_all: bool,
        members: dict[int, tuple[int, ...]],
        pid: int,
        origin: int,
        n_ranks: int,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def n_arrows(self) -> int: ...
    @property
    def arrows_left_out(self) -> int: ...
    def slices(self, most: int) -> bytes: ...
    def end_of(self, rank: int) -> int: ...
    def arrows(self, jobs: int, most: int) -> bytes | None: ...
    def counts(self, points: int) -> list[tuple[int, int, int]]: ...
    def longest(self, most: int) -> list[int]: ...
