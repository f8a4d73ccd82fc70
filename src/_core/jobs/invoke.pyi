from typing import Any

NO_OWNER: Any

class CallDepth:
    inside_job: int
