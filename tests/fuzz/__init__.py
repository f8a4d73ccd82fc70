"""Fuzzing of all code that decodes bytes.

A target (`fuzz.targets`) is a function that decodes bytes or raises a documented error.
``python -m fuzz``, in tests/, calls the targets with random bytes and reports everything else.
"""
