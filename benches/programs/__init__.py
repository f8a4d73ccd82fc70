"""What is measured: each program runs in processes of its own and prints one line of figures."""
