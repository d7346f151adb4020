"""A report of made-up results on drawn faces."""

import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lafs_pipeline.evaluation.disagreements import DISAGREEMENT_TYPES
from lafs_pipeline.evaluation.hardest_pairs import FALSE_ACCEPT, FALSE_REJECT, HARDEST_TYPES
from lafs_pipeline.evaluation.resampling import Interval
from lafs_pipeline.evaluation.results import BenchmarkResult, Facts, benchmark_table
from lafs_pipeline.reporting.report import ReportData

MODELS = ("stage1", "scratch", "lafs")
SIZES = {
    "num_landmarks": 9,
    "patch_size": 16,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "head_dim": 8,
    "mlp_dim": 16,
    "landmark_width": 0.25,
}


QUALITY = pd.DataFrame(
    {
        "training": ["before", "after"],
        "landmarks": 9,
        "faces": 24,
        "crop_px": [9.0, 4.04],
        "crop_if_still_px": 8.0,
        "covered": [0.5, 0.25],
        "points_error": [0.0812, 0.0617],
        "mean_shape_error": 0.0799,
    }
)


def png(noisy: bool = False) -> bytes:
    stream = io.BytesIO()
    figure = Figure(figsize=(5, 3))
    figure.figimage(np.random.default_rng(0).random((450, 750, 3)) if noisy else np.zeros((450, 750)))
    figure.savefig(stream, format="png", dpi=150)
    return stream.getvalue()


def made_up_table(*names) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    results = {}
    for model in MODELS:
        results[model] = []
        for name in names:
            metrics = {
                "accuracy": rng.random(),
                "fold_std": rng.random(),
                "tar_at_far_0.001": rng.random(),
            }
            facts = Facts(
                123, 10, None, 3, 4, 5, True, False, True, "arcface-112", f"{model}digest", "f" * 32
            )
            intervals = {"accuracy": Interval(*np.sort(rng.random(2)), tuple(rng.random(50)))}
            results[model].append(
                BenchmarkResult(name, None, metrics, intervals, "identity", 50, facts, *[np.zeros(0)] * 3)
            )
    return benchmark_table(results, MODELS[0])


def hardest(faces, benchmark="bench") -> pd.DataFrame:
    keys, identities = faces["key"].tolist(), faces["identity"].tolist()
    rows = [
        (benchmark, FALSE_ACCEPT, keys[0], keys[5], identities[0], identities[5], 1, 1, 2, 0.91, 0.52, 7, 60),
        (
            benchmark,
            FALSE_REJECT,
            keys[2],
            keys[3],
            identities[2],
            identities[3],
            4,
            1,
            None,
            -0.25,
            0.5,
            9,
            40,
        ),
    ]
    return pd.DataFrame(rows, columns=list(HARDEST_TYPES)).astype(HARDEST_TYPES)


def disagreements(faces) -> pd.DataFrame:
    keys = faces["key"].tolist()
    rows = [
        ("bench", "stage1", "lafs", "lafs", keys[7], keys[8], True, -0.1234, 0.25, 1100),
        ("bench", "stage1", "lafs", "stage1", keys[9], keys[10], False, -0.5, 0.125, 9),
    ]
    return pd.DataFrame(rows, columns=list(DISAGREEMENT_TYPES)).astype(DISAGREEMENT_TYPES)


def changed(data: ReportData, **values) -> ReportData:
    return ReportData(**vars(data) | values)
