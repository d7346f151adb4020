"""Looks at a training while it runs: health, probes, speed."""
