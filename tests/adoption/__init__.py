"""Compares a stock proxy and its phones before and after adoption. Only the listed differences may show."""
