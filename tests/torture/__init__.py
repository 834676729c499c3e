"""Flushes under torture: API, worker and Kamailio are killed at random instants; then it is asked what is left."""
