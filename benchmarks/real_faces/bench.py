"""What the tasks of the benchmark share: its plan, its faces, its folders."""

import json
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.real_faces.data import unpacked
from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.embedding import Embeddings
from lafs_pipeline.models.landmark_network import MirroredLandmarks
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.settings import TrainingSettings

LANDMARKS = 49
BATCH = 256
"""Images embedded at once."""
SIZES = {
    "gpu": {"dim": 256, "depth": 8, "heads": 8, "head_dim": 32, "mlp_dim": 512, "landmark_width": 0.5},
    "cpu": {"dim": 128, "depth": 4, "heads": 4, "head_dim": 32, "mlp_dim": 256, "landmark_width": 0.25},
}
COMMON = {"num_landmarks": LANDMARKS, "patch_size": 16, "dropout": 0.0, "drop_path": 0.0}


@dataclass(frozen=True)
class Plan:
    """How long everything is trained.

    Attributes:
        size: of the model, among `SIZES`.
        batch_size: images per step of a pretraining.
        epochs: of LAFS; plain DINO gets as many more as its shorter local views are cheaper.
        landmark_epochs: of the landmark network; None for those of `auto`.
        rate: peak learning rate of a pretraining in batches of 64.
        koleo: weight of KoLeo in a pretraining.
        steps: of an adaptation.
        workers: that load images.
    """

    size: str = "cpu"
    batch_size: int = 64
    epochs: int = 3
    landmark_epochs: int | None = None
    rate: float = 5e-4
    koleo: float = 0.1
    steps: int = 300
    workers: int = 1


class Bench:
    """What the tasks work on."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.sizes = SIZES[plan.size] | COMMON
        self._images: dict[str, np.ndarray] = {}
        for name in ("models", "results"):
            (folder / name).mkdir(exist_ok=True)

    @cached_property
    def faces(self) -> pd.DataFrame:
        return unpacked(self.folder)

    @cached_property
    def train(self) -> pd.DataFrame:
        return self.faces[self.faces["split"] == "train"]

    def images(self, name: str, faces: pd.DataFrame) -> np.ndarray:
        """The faces of a benchmark (n, 112, 112, 3), kept for the next model."""
        if name not in self._images:
            self._images[name] = FaceImages(faces).stack()
        return self._images[name]

    def landmarks(self, model: PartFViT | None = None) -> Embeddings:
        """Of the training faces, as they are cached; with a model of still landmarks those of any face."""
        if model is None:
            vectors = np.load(self.folder / "landmarks.npy", mmap_mode="r")
        else:
            still = MirroredLandmarks(model.landmark_network)(torch.zeros(1, 3, FACE_SIZE, FACE_SIZE))
            vectors = np.broadcast_to(still.detach().numpy(), (len(self.train), still.shape[1]))
        return Embeddings(pd.Series(range(len(vectors)), index=self.train["key"]), vectors, "")

    def model_path(self, name: str) -> Path:
        return self.folder / "models" / f"{name}.safetensors"

    def training(self, **values: Any) -> TrainingSettings:
        return TrainingSettings(
            precision="float32",
            workers=self.plan.workers,
            log_every=50,
            checkpoint_every=500,
            keep_checkpoints=1,
            probe_every=10**6,
            **values,
        )

    def run(self, name: str) -> RunContext:
        seed = int(name.rpartition("-s")[2][:1] or 0) if "-s" in name else 0
        return RunContext(self.folder / "trainings" / name, seed)

    def record(self, name: str, values: dict[str, Any], started: float) -> None:
        values["seconds"] = round(time.monotonic() - started, 1)
        path = self.folder / "results" / f"{name}.json"
        path.with_suffix(".part").write_text(json.dumps(values))
        path.with_suffix(".part").replace(path)
        shutil.rmtree(self.folder / "trainings" / name, ignore_errors=True)
