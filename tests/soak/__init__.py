"""Soak test: resources that thousands of pools and millions of jobs do not release.

`kinds` are the ways in which pools are used, `counting` what a process holds, `program` what each
rank runs, `launching` starts it and checks its counts, ``python -m soak`` prints the table.
"""
