"""Results on their way through a file."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.resampling import Interval
from lafs_pipeline.evaluation.results import (
    BenchmarkResult,
    Facts,
    benchmark_table,
    frame_results,
    results_frame,
)

FACTS = Facts(
    pairs=60,
    folds=10,
    templates=None,
    excluded_images=0,
    excluded_pairs=2,
    overlap=None,
    flip=True,
    normalized=False,
    detector_score=False,
    alignment="arcface-112, as given",
    model_digest="m" * 64,
    data_fingerprint="d" * 32,
    threshold=1 / 3,
)
RESULTS = [
    BenchmarkResult(
        "held",
        None,
        {"accuracy": 0.1 + 0.2, "auc": float(np.nextafter(0.5, 1))},
        {"accuracy": Interval(0.1, 0.7), "auc": Interval(np.nan, np.nan)},
        "identity",
        50,
        FACTS,
        np.linspace(0, 1, 7),
        np.sqrt(np.linspace(0, 1, 7)),
        np.array([0.25, 1 / 7]),
    ),
    BenchmarkResult(
        "ijbc",
        "women",
        {"tar_at_far_0.1": 1.0},
        {},
        "",
        0,
        replace(FACTS, folds=None, templates=30, threshold=None, overlap=3),
        np.zeros(1),
        np.ones(1),
        np.zeros(0),
    ),
]


def test_results_come_back_from_a_file_to_the_last_bit(tmp_path):
    for number, results in enumerate((RESULTS, RESULTS[:1], [])):
        results_frame(results).to_parquet(tmp_path / f"{number}.parquet")
        found = frame_results(pd.read_parquet(tmp_path / f"{number}.parquet"))
        pd.testing.assert_frame_equal(
            benchmark_table({"lafs": found}), benchmark_table({"lafs": results}), check_exact=True
        )
        for before, after in zip(results, found, strict=True):
            assert (after.group, after.drawn, after.resamples) == (
                before.group,
                before.drawn,
                before.resamples,
            )
            assert (after.facts, after.metrics) == (before.facts, before.metrics)
            for name in ("false_accept_rate", "true_accept_rate", "fold_accuracy"):
                np.testing.assert_array_equal(getattr(after, name), getattr(before, name), strict=True)
