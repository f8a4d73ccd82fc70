"""Journals: files from which a program that was cut off goes on where it stopped.

``create_job_pool(journal="run.journal")`` records each job that ends. The same program, started
again, gets the results of these jobs from the file, and runs the others. See docs/resuming.md.
"""

from bsbpool.journal.digests import register_key, stable_digest
from bsbpool.journal.options import Journal

__all__ = ["Journal", "register_key", "stable_digest"]
