"""Embeddings, pair verification, templates, plots."""
