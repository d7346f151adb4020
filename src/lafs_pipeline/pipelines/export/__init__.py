"""Models become folders to take away."""

from lafs_pipeline.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
