"""Raw faces become a manifest, stores of images and what benchmarks compare."""

from lafs_pipeline.pipelines.cataloging.pipeline import create_pipeline

__all__ = ["create_pipeline"]
