"""Raw faces become a manifest, a packed file and pair sets."""

from lafs_pipeline.pipelines.cataloging.pipeline import create_pipeline

__all__ = ["create_pipeline"]
