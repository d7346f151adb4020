"""The five pipelines: nodes unpack parameters and call the library."""
