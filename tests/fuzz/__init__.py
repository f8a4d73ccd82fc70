"""Hostile bytes for everything that decodes them.

A target (`fuzz.targets`) is a function of bytes that either decodes them or raises what it is
documented to raise. ``python -m fuzz``, in tests/, tries bytes until something else happens.
"""
