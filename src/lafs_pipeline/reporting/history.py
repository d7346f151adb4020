"""What trainings have left behind: their metrics, and what they were trained with."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.metric_loggers import METRICS_FILE, read_metrics
from lafs_pipeline.training.checkpoints import candidates, read_record

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class History:
    """One training.

    Attributes:
        name: of its folder.
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


def read_histories(folder: Path | str) -> dict[str, History]:
    """The trainings that have a folder of their own in `folder`, by name, in the order they were written."""
    paths = sorted(Path(folder).glob(f"*/{METRICS_FILE}"), key=lambda path: path.stat().st_mtime)
    return {path.parent.name: _read(path) for path in paths}


def _read(path: Path) -> History:
    return History(path.parent.name, pd.DataFrame(read_metrics(path)), configuration_of(path.parent))


def configuration_of(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint of a folder was trained with; empty where none tells."""
    for checkpoint in candidates(folder):
        try:
            return read_record(checkpoint)["configuration"]
        except (LafsError, KeyError) as error:
            logger.warning("what %s was trained with is not known: %s", folder.name, error)
    return {}
