"""Tokens of the API and their restrictions."""
