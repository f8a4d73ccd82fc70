"""Random programs, run by bsbpool and by plain Python, which must agree."""
