"""Millions of faces: planning, intake, shards, duplicates, overlap, dataset card."""
