from bsbpool._core.jobs.handle import Handle
from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.scheduling.engine_options import JobSpec

class SpecialSubmission(JobSpec):
    def submit(
        self, pool: Submitter, job: Handle, cache_set: int, tracked: bool = False
    ) -> None: ...
