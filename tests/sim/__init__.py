"""The real loops on a virtual network, from one seed: see `bsbpool._core.testing.simulated_network`.

``python -m sim --seeds 1000`` in `tests` runs them; `make sim` does so.
"""
