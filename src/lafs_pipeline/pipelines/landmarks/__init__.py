"""Stage 1 gives the landmark network, and it finds the landmarks of the training faces."""

from lafs_pipeline.pipelines.landmarks.pipeline import create_pipeline

__all__ = ["create_pipeline"]
