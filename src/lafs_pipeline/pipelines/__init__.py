"""The pipelines: nodes unpack parameters and call the library."""
