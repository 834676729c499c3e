"""Flushes under torture: API, worker and Kamailio are killed at random instants, and then all promises are checked."""
