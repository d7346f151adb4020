"""What pretraining gains at how many labels."""

from lafs_pipeline.pipelines.study.pipeline import create_pipeline

__all__ = ["create_pipeline"]
