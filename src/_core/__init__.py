"""The compiled core of bsbpool: what decides, and what carries messages."""
