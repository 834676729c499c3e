"""Runs both commands of the README in a fresh root of another Debian release, as a new user does."""
