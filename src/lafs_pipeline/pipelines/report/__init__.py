"""The whole run on one page."""

from lafs_pipeline.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
