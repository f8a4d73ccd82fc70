"""Runs with many more ranks than cores: results, throughput, the time to make a pool."""
