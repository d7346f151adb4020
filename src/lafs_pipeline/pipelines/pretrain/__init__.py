"""LAFS pretrains the transformer without labels."""

from lafs_pipeline.pipelines.pretrain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
