"""Soak: what thousands of pools and millions of jobs leave behind.

`kinds` are the ways in which pools are used, `counting` what a process holds, `program` what each
rank runs, `launching` starts it and judges what it tells, ``python -m soak`` prints the table.
"""
