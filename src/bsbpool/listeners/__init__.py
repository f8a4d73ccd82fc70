"""Listeners: what shows or keeps the progress of a pool."""
