"""The card of a model: how to rebuild it, what to feed it, what it was trained on and how good it is.

The card is timm's `config.json` with entries of our own, so that
`timm.create_model("local-dir:FOLDER", pretrained=True)` reads it.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.alignment import ARCFACE_TEMPLATE
from lafs_pipeline.faces.manifest import TRAIN, fingerprint
from lafs_pipeline.models.part_fvit import DATA_CONFIG, FViT, PartFViT, registered_name
from lafs_pipeline.runtime.errors import LafsError

CARD = "config.json"
FORMAT = "lafs_pipeline.card.1"
FLAGS = ("flip", "normalized", "detector_score", "alignment", "pairs", "excluded_pairs", "overlap")
PREPROCESSING = {
    "size": [FACE_SIZE, FACE_SIZE],
    "channels": "RGB",
    "alignment": "similarity transform of five points (left and right eye, nose, left and right corner of "
    "the mouth, as seen in the image) to `template`",
    "template": [[round(float(value), 4) for value in point] for point in ARCFACE_TEMPLATE],
    "scaling": "x / 127.5 - 1",
    "embedding": "sum of the embeddings of image and mirror image, brought to length 1",
}


@dataclass(frozen=True)
class Threshold:
    """From which cosine similarity on a pair is accepted."""

    cosine: float
    benchmark: str
    pairs: int
    accuracy: float


def describe_model(
    model: PartFViT | FViT,
    digest: str,
    training_data: dict[str, Any],
    benchmarks: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """A model's card, ready for JSON."""
    return {
        "architecture": registered_name(model),
        "num_classes": 0,
        "num_features": model.sizes["dim"],
        "model_args": model.sizes,
        "pretrained_cfg": DATA_CONFIG,
        "format": FORMAT,
        "model_digest": digest,
        "provenance": None if model.provenance is None else asdict(model.provenance),
        "preprocessing": PREPROCESSING,
        "training_data": training_data,
        "scores": [] if benchmarks is None else _scores(benchmarks[benchmarks["model_digest"] == digest]),
    }


def describe_training(
    dataset_card: dict[str, Any], adapt_faces: pd.DataFrame | None = None
) -> dict[str, Any]:
    """What a model was trained on, for its card."""
    training = {
        "fingerprint": dataset_card["fingerprint"],
        "sources": list(dataset_card["sources"]),
        "training": dataset_card["splits"].get(TRAIN),
    }
    if adapt_faces is not None:
        training["adaptation"] = {
            "fingerprint": fingerprint(adapt_faces),
            "images": len(adapt_faces),
            "identities": int(adapt_faces["identity"].nunique()),
        }
    return training


def read_card(folder: Path | str) -> dict[str, Any] | None:
    """The card in a folder; None where there is none of ours.

    Raises:
        LafsError: it is damaged.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LafsError(f"model card {path} cannot be read ({error}); export the model again") from error
    return card if isinstance(card, dict) and card.get("format") == FORMAT else None


def best_threshold(card: dict[str, Any]) -> Threshold | None:
    """The threshold of the benchmark with the most pairs; None where none was measured with mirror images."""
    usable = [
        score
        for score in card["scores"]
        if score["threshold"] is not None and score["flip"] and "accuracy" in score["metrics"]
    ]
    if not usable:
        return None
    score = max(usable, key=lambda score: score["pairs"])
    accuracy = score["metrics"]["accuracy"]["value"]
    return Threshold(score["threshold"], score["benchmark"], score["pairs"], accuracy)


def _scores(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a benchmark: its metrics with intervals, the threshold, and what they must be read with."""
    scores = []
    for benchmark, own in rows.groupby("benchmark", sort=False):
        metrics = {
            row["metric"]: {name: _plain(row[name]) for name in ("value", "low", "high")}
            for _, row in own.iterrows()
        }
        facts = {name: _plain(own.iloc[0][name]) for name in ("threshold", *FLAGS, "data_fingerprint")}
        scores.append({"benchmark": str(benchmark), "metrics": metrics, **facts})
    return scores


def _plain(value: Any) -> Any:
    """A value of a table as JSON knows it; missing ones are None."""
    if pd.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
