"""Finds out why programs do not run on several ranks here: ``bsbpool doctor``."""
