"""A time limit for every test, and under mpiexec a guard against hanging ranks."""

import signal

pytest_plugins = ["helpers.effort", "helpers.mpi_guard"]

# Shells start background commands with SIGINT ignored, and child processes inherit that: tests of
# Ctrl-C would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
