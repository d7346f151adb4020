"""Few labels adapt a face model, from LAFS and from scratch."""

from lafs_pipeline.pipelines.adapt.pipeline import create_pipeline

__all__ = ["create_pipeline"]
