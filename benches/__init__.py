"""Measurements of bsbpool beside what else one could use: `python -m benches`."""
