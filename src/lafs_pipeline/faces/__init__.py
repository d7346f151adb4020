"""Images come in: sources, RecordIO, alignment, pair sets, manifest, subsets, synthetic faces."""
