"""Models in the layouts of others, and model files."""
