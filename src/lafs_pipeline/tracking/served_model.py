"""A face model as MLflow serves it: MLflow keeps this file with the weights and runs it to load the model."""

from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext

from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.models.embedding import unit_embeddings
from lafs_pipeline.runtime.processes import local_device

WEIGHTS = "weights"
"""Name of the model file among the artifacts."""
BATCH_SIZE = 64


class FaceEmbedder(PythonModel):
    """Aligned faces -> embeddings, whose inner products are cosines."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the network from its file."""
        self.device = local_device()
        self.network = load_model(context.artifacts[WEIGHTS]).to(self.device)

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Embed (n, 112, 112, 3) uint8 RGB faces in ArcFace's template.

        Returns:
            (n, dim) float32, of face and mirror image together, of length 1.
        """
        images = torch.from_numpy(np.ascontiguousarray(model_input))
        parts = (part.to(self.device) for part in images.split(BATCH_SIZE))
        return np.concatenate([unit_embeddings(self.network, part) for part in parts])


mlflow.models.set_model(FaceEmbedder())
