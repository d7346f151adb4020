"""What an MLflow run is called and labeled with, so that a list of runs can be read and compared."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kedro.framework import project

from lafs_pipeline.models.sizes import SIZES

WHOLE = "__default__"
"""Kedro's name of the pipeline that runs where none is named."""
WITH_MODEL = {WHOLE, "landmarks", "pretrain", "adapt", "evaluate", "study"}
WITH_METHOD = {WHOLE, "pretrain", "adapt", "evaluate"}
WITH_SHOTS = {WHOLE, "adapt"}


@dataclass(frozen=True)
class Labels:
    """What tells runs apart; None where a run has no such thing.

    Attributes:
        pipeline: the pipelines that run, or `all`.
        dataset: sources of the training faces.
        method: what is pretrained, such as `grid+lafs`.
        model: size of the model.
        shots: labeled images per identity, or `all`.
    """

    pipeline: str
    dataset: str
    method: str | None
    model: str | None
    shots: str | None

    def tags(self) -> dict[str, str]:
        """As tags of the run."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def run_name(self) -> str:
        """As one name, such as `adapt synthetic lafs tiny 4-shot`."""
        words = [self.pipeline, self.dataset, self.method, self.model, self.shots and f"{self.shots}-shot"]
        return " ".join(word for word in words if word)


def make_labels(
    pipelines: Sequence[str],
    sources: Iterable[str],
    parameters: dict[str, Any],
    given: tuple[Sequence[str], dict[str, Any]] | None,
) -> Labels:
    """The labels of a run.

    Args:
        pipelines: names of what runs.
        sources: names of the training faces' sources.
        parameters: all groups; those that the pipelines use are checked.
        given: methods and sizes of the models that the run starts from; None where the run makes them.
    """
    names = set(pipelines)
    return Labels(
        pipeline="all" if names == {WHOLE} else "+".join(pipelines),
        dataset="+".join(sources),
        method=_method(parameters, given) if names & WITH_METHOD else None,
        model=_model(parameters, given) if names & WITH_MODEL else None,
        shots=str(parameters["adapt"]["shots"] or "all") if names & WITH_SHOTS else None,
    )


def in_order(pipelines: Sequence[str]) -> list[str]:
    """Names of pipelines in the order of the registry; Kedro hands over those of a command in any order."""
    return [name for name in project.pipelines if name in pipelines]


def stage_experiment(name: str, pipelines: Sequence[str]) -> str:
    """The experiment of a run: `<name>/<pipeline>`, or `<name>` where several pipelines run together."""
    return name if len(pipelines) > 1 or WHOLE in pipelines else f"{name}/{pipelines[0]}"


def size_name(sizes: dict[str, Any]) -> str:
    """`base`, `small` or `tiny` for a model of these sizes, else its width x depth."""
    for name, registered in SIZES.items():
        if all(sizes.get(key) == value for key, value in registered.items()):
            return name
    return f"{sizes.get('dim')}x{sizes.get('depth')}"


def _method(parameters: dict[str, Any], given: tuple[Sequence[str], dict[str, Any]] | None) -> str | None:
    return "+".join(parameters["pretrain"]["methods"] if given is None else given[0]) or None


def _model(parameters: dict[str, Any], given: tuple[Sequence[str], dict[str, Any]] | None) -> str:
    if given is not None:
        return size_name(given[1])
    wanted = parameters["model"]
    registered = next((SIZES[size] for size in SIZES if f"_{size}_" in str(wanted.get("name"))), {})
    return size_name(registered | (wanted.get("sizes") or {}))
