"""Kedro datasets: thin shells over the library."""
