"""Going on with a compile of BSB that was cut off, see docs/bsb.md."""
