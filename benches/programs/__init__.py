"""The measured programs. Each runs in its own processes and prints one line of figures."""
