"""The script of `differential.scripts`: it changes its own globals.

python -m bsbpool.run script_program.py FIRST SEEDS
"""

import sys

from bsbpool.futures import PoolExecutor
from differential.scripts import run_seeds

failures = run_seeds(int(sys.argv[1]), int(sys.argv[2]), globals(), PoolExecutor)
print(sys.argv[2], "programs,", failures, "differ")
sys.exit(failures > 0)
