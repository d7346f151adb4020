"""The MLflow run of a command that did not finish, remembered beside its checkpoints."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lafs_pipeline.runtime.files import whole_file

logger = logging.getLogger(__name__)

CONTINUES = "lafs.continues"
"""Tag of a run: the unfinished run that another command had begun in the same data folder."""
SELECTION = (
    "pipeline_names",
    "tags",
    "from_nodes",
    "to_nodes",
    "node_names",
    "from_inputs",
    "to_outputs",
    "namespaces",
    "load_versions",
    "only_missing_outputs",
)
"""What of Kedro's run parameters decides which nodes run."""


TRAINERS = {"landmarks.train_landmarks", "pretrain.pretrain_backbones", "adapt.adapt_models"}
"""Nodes whose trainings are read from their last checkpoints where they are finished."""
LOAD = "system/"
"""What names of metrics of the machine begin with."""


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that has begun."""

    run_id: str
    digest: str


def command_digest(
    tracking_uri: str, experiment: str, run_params: dict[str, Any], parameters: dict[str, Any]
) -> str:
    """A digest that two commands share when they do the same and track it at the same place."""
    selection = {name: run_params.get(name) or None for name in SELECTION}
    command = [tracking_uri, experiment, run_params.get("env"), selection, parameters]
    return hashlib.sha256(json.dumps(command, sort_keys=True, default=str).encode()).hexdigest()


class RunRecord:
    """The file `mlflow_run.json`, which is there while a command has not finished."""

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / "mlflow_run.json"

    def read(self) -> UnfinishedRun | None:
        """The run that did not finish; None where there is none or the file is damaged."""
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            found = UnfinishedRun(values["run_id"], values["digest"])
            if not all(isinstance(value, str) for value in asdict(found).values()):
                raise TypeError("its values are no strings")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s cannot be read (%s); a new MLflow run starts", self.path, error)
            return None
        return found

    def write(self, run: UnfinishedRun) -> None:
        """Remember a run that has started."""
        try:
            with whole_file(self.path) as temporary:
                temporary.write_text(json.dumps(asdict(run)), encoding="utf-8")
        except OSError as error:
            logger.warning(
                "%s cannot be written: %s; the MLflow run would not be continued", self.path, error
            )

    def remove(self) -> None:
        """Forget it: the command has finished."""
        self.path.unlink(missing_ok=True)


def trained_nothing(metrics: Iterable[str], nodes: Collection[str], parameters: dict[str, Any]) -> bool:
    """Whether nothing was left to train in a run that trains.

    Args:
        metrics: names of those that the run has.
        nodes: names of those that it went through.
        parameters: all groups.
    """
    trainers = TRAINERS & set(nodes)
    if parameters.get("landmarks", {}).get("method") == "weights":
        trainers -= {"landmarks.train_landmarks"}
    return bool(trainers) and all(name.startswith(LOAD) for name in metrics)
