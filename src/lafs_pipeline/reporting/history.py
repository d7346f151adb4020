"""What trainings have left behind: their metrics, and what they were trained with."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lafs_pipeline.runtime.metric_loggers import METRICS_FILE, read_metrics
from lafs_pipeline.training.checkpoints.folders import DIGITS, read_training


@dataclass(frozen=True, eq=False)
class History:
    """One training.

    Attributes:
        name: of its stage.
        metrics: a row a logged line: step, and the metrics, missing where a line has none.
        configuration: of its newest checkpoint; empty without one.
    """

    name: str
    metrics: pd.DataFrame
    configuration: dict[str, Any]

    def curve(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values where the metric is a finite number, both (n,), n possibly 0."""
        if metric not in self.metrics:
            return np.empty(0), np.empty(0)
        values = self.metrics[metric].to_numpy(np.float64)
        finite = np.isfinite(values)
        return self.metrics["step"].to_numpy(np.int64)[finite], values[finite]


def read_histories(folder: Path | str, preferred: Collection[str] = ()) -> dict[str, History]:
    """The training of every stage that has a folder in `folder`, by name, in the order they were written.

    Args:
        folder: of all trainings.
        preferred: digests of configurations: of a stage's trainings one of these is taken, otherwise the
            one written last.
    """
    wanted = {digest[:DIGITS] for digest in preferred}
    written = {path: path.stat().st_mtime for path in Path(folder).glob(f"*/*/{METRICS_FILE}")}
    by_rank = sorted(written, key=lambda path: (path.parent.name[:DIGITS] in wanted, written[path]))
    last = {path.parent.parent.name: path for path in by_rank}
    return {name: _read(name, path) for name, path in sorted(last.items(), key=lambda item: written[item[1]])}


def pretraining_steps(folder: Path | str, trainings: Mapping[str, str]) -> dict[str, int]:
    """Steps of pretraining by method, of those that are known.

    Args:
        folder: of all trainings.
        trainings: by method, the digest of its configuration.
    """
    histories = read_histories(folder, trainings.values())
    found = {name: histories.get(f"pretrain_{name}") for name in trainings}
    curves = {name: history.curve("loss")[0] for name, history in found.items() if history}
    return {name: int(steps[-1]) for name, steps in curves.items() if len(steps)}


def _read(name: str, path: Path) -> History:
    return History(name, pd.DataFrame(read_metrics(path)), read_training(path.parent).configuration)
