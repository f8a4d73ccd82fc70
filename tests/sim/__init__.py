"""The real loops on a simulated network; each run follows from its seed.

``python -m sim --seeds 1000`` in `tests` runs them; `make sim` does so.
"""
