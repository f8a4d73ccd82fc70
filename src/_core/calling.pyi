from typing import Any

NO_OWNER: Any

class Nesting:
    inside_job: int
