"""Few labels adapt a face model of every backbone."""

from lafs_pipeline.pipelines.adapt.pipeline import create_pipeline

__all__ = ["create_pipeline"]
