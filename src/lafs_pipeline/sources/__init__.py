"""Where faces come from: one file for each format."""
