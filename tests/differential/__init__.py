"""Random programs, executed by bsbpool and by plain Python, whose outcomes must agree."""
