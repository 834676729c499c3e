"""Flushes: requests, progress on each node, records."""
