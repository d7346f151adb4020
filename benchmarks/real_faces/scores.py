"""How a model is scored: pairs of several benchmarks, and k-NN on the people held out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.real_faces.bench import BATCH, Bench
from benchmarks.real_faces.data import PAIRS
from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces.subsets import identity_labels
from lafs_pipeline.models.embedding import flip_sum
from lafs_pipeline.runtime.processes import local_device
from lafs_pipeline.training.monitoring.probes import knn_accuracy
from lafs_pipeline.views.normalize import to_input


def scores(bench: Bench, model: torch.nn.Module, benchmarks: tuple[str, ...]) -> dict[str, Any]:
    """Fold accuracies of verification, and on the people held out the k-NN accuracy."""
    device = local_device()
    embed = flip_sum(model.to(device).eval())
    lists = pd.read_parquet(bench.folder / PAIRS)
    values = {}
    for name in benchmarks:
        pairs = lists[lists["benchmark"] == name]
        wanted = bench.faces[bench.faces["key"].isin(set(pairs["a"]) | set(pairs["b"]))]
        vectors = embedded(embed, bench.images(name, wanted), device)
        row = pd.Series(range(len(wanted)), index=wanted["key"])
        result = verify_pairs(
            vectors[row[pairs["a"]]],
            vectors[row[pairs["b"]]],
            pairs["is_same"].to_numpy(),
            pairs["fold"].to_numpy(),
        )
        values[name] = {
            "fold_accuracy": result.fold_accuracy.tolist(),
            "accuracy": result.accuracy,
            "auc": result.auc,
        }
        if name == "development":
            labels = identity_labels(wanted)[0]
            place = wanted.groupby("identity").cumcount().to_numpy()
            values["knn"] = knn_accuracy(vectors, labels, place % 2 == 0)
    model.cpu()
    return values


@torch.inference_mode()
def embedded(
    embed: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray, device: torch.device
) -> np.ndarray:
    """Embeddings of images (n, 112, 112, 3) uint8."""
    batches = torch.from_numpy(images).split(BATCH)
    return np.concatenate([embed(to_input(batch.to(device))).cpu().numpy() for batch in batches])
