"""A face model on all pair sets of a catalogue, and the table of results."""

import pandas as pd
import torch
from torch import nn

from lafs_pipeline.evaluation.verification import VerificationResult, verify_pairs
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.embedding import flip_sum, map_faces

TABLE_COLUMNS = ["model", "benchmark", "metric", "value"]
FLAG_COLUMNS = ["pairs", "folds", "flip", "normalised", "detector_score", "alignment"]


def verify_benchmarks(
    model: nn.Module,
    manifest: pd.DataFrame,
    pairs: pd.DataFrame,
    device: torch.device,
    flip: bool,
    batch_size: int,
    workers: int,
) -> dict[str, VerificationResult]:
    """Verify every benchmark of `pairs` (method of LFW: 10 folds, squared L2 distance of embeddings).

    Args:
        model: images in [-1, 1] -> embeddings.
        manifest: faces, the benchmarks' among them.
        pairs: columns benchmark, key_a, key_b, is_same, fold.
        device: where the model runs.
        flip: whether the mirror image's embedding is added.
        batch_size: images a forward pass.
        workers: processes that decode.
    """
    faces = manifest[manifest["key"].isin(pd.concat([pairs["key_a"], pairs["key_b"]]).unique())]
    model = model.to(device).eval()
    embeddings = map_faces(
        flip_sum(model) if flip else model, FaceImages(faces), device, batch_size, workers, title="embeddings"
    )
    row = pd.Series(range(len(faces)), index=faces["key"])
    return {
        str(name): verify_pairs(
            embeddings[row[members["key_a"]]],
            embeddings[row[members["key_b"]]],
            members["is_same"].to_numpy(bool),
            folds=members["fold"].to_numpy(int),
        )
        for name, members in pairs.groupby("benchmark", sort=False)
    }


def benchmark_table(results: dict[str, dict[str, VerificationResult]], flip: bool) -> pd.DataFrame:
    """One row a model, benchmark and metric; rates are fractions.

    Args:
        results: model -> benchmark -> result.
        flip: as the embeddings were made.
    """
    rows = []
    for model, benchmarks in results.items():
        for benchmark, result in benchmarks.items():
            metrics = {
                "accuracy": result.accuracy,
                "accuracy_std": result.std,
                "auc": result.auc,
                "eer": result.eer,
            }
            metrics |= {f"tar_at_far_{far:g}": tar for far, tar in result.tar_at_far.items()}
            flags = {
                "pairs": len(result.scores),
                "folds": len(result.fold_accuracy),
                "flip": flip,
                "normalised": False,
                "detector_score": False,
                "alignment": "arcface-112",
            }
            rows += [
                {"model": model, "benchmark": benchmark, "metric": metric, "value": value} | flags
                for metric, value in metrics.items()
            ]
    return pd.DataFrame(rows, columns=[*TABLE_COLUMNS, *FLAG_COLUMNS])
