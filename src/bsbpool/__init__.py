"""A job pool on MPI."""
