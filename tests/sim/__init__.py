"""Runs the loops of the core on a simulated network. A seed determines each run.

``python -m sim --seeds 1000`` in `tests` runs them; `make sim` does so.
"""
