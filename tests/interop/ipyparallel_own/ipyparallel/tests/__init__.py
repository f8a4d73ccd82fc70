"""The tests of the real package are copied into this folder when they run."""
