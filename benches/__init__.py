"""Measurements of bsbpool and of other systems: `python -m benches --help`.

Workloads (`workloads`), the machine (`environment`) and the reports (`report`, `plots`) know
nothing of each other. `programs` are what is measured, each in processes of its own; `targets`
says which of them make a figure, and what the figure should be.
"""
