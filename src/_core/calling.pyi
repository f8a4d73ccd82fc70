class Nesting:
    inside_job: int
