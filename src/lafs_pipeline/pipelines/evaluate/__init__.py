"""Face models become a benchmark table."""

from lafs_pipeline.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
