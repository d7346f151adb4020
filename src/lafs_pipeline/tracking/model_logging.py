"""The face model that a run leaves, as a model of MLflow that can be loaded and served."""

import importlib.metadata
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

SERVED = "face_models"
"""The entry of the catalog whose leading model is logged as a model."""
REQUIREMENTS = ("lafs-pipeline", "torch", "timm", "safetensors", "numpy")


def log_model(path: Path, registered_name: str | None) -> None:
    """Log a model file to the active run, with signature and an example: a drawn face.

    Raises:
        Exception: when MLflow or its artifact store does not take it.
    """
    from lafs_pipeline.faces import FACE_SIZE
    from lafs_pipeline.interop.model_header import read_sizes
    from lafs_pipeline.sources.synthetic.faces import draw_face
    from lafs_pipeline.tracking import served_model

    images = TensorSpec(np.dtype(np.uint8), (-1, FACE_SIZE, FACE_SIZE, 3))
    embeddings = TensorSpec(np.dtype(np.float32), (-1, read_sizes(path)[1]["dim"]))
    mlflow.pyfunc.log_model(
        name=f"face_model_{path.stem}",
        python_model=served_model.__file__,
        artifacts={served_model.WEIGHTS: str(path)},
        signature=ModelSignature(Schema([images]), Schema([embeddings])),
        input_example=draw_face(seed=0, identity=0, image=0).image[None],
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
        registered_model_name=registered_name,
    )
