"""Listeners that show or record the progress of a pool."""
