"""Doors for other people's code; each module for one package, imported when used."""
