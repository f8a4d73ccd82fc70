"""What every test has: a time limit, and under mpiexec a guard against hanging ranks."""

pytest_plugins = ["helpers.effort", "helpers.mpi_guard"]
