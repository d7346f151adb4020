"""What an MLflow run is called and labeled with, so that a list of runs can be read and compared."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kedro.framework import project

from lafs_pipeline.models.sizes import SIZES

WHOLE = "__default__"
"""Kedro's name of the pipeline that runs where none is named."""
LONGEST = 100
"""Characters of the names of sources in that of a run; MLflow takes 500 for a data set's."""
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
        dataset=joined(sources),
        method=_method(parameters, given) if names & WITH_METHOD else None,
        model=_model(parameters, given) if names & WITH_MODEL else None,
        shots=str(parameters["adapt"]["shots"] or "all") if names & WITH_SHOTS else None,
    )


def joined(names: Iterable[str]) -> str:
    """Names as one, such as `lfw+agedb`; of many only the first, and how many there are besides."""
    known = list(names)
    shown = [name for place, name in enumerate(known) if len("+".join(known[: place + 1])) <= LONGEST]
    shown = shown or [name[:LONGEST] for name in known[:1]]
    more = len(known) - len(shown)
    return "+".join(shown) + (f"+{more} more" if more else "")


def run_details(pipelines: Sequence[str], parameters: dict[str, Any]) -> str:
    """What else runs are told apart by, such as `, 49 landmarks, 10+1+6 epochs, seed 0`.

    Args:
        pipelines: names of what runs.
        parameters: all groups.
    """
    names = set(pipelines)
    trainings = {
        "landmarks": _group(parameters, "landmarks", _recipe(parameters)),
        "pretrain": _group(parameters, "pretrain"),
        "adapt": _group(parameters, "adapt", "recognition"),
    }
    epochs = [
        _group(recipe, "training").get("epochs")
        for name, recipe in trainings.items()
        if names & {WHOLE, name} and recipe
    ]
    landmarks = _group(parameters, "model", "sizes").get("num_landmarks")
    details = [
        f"{landmarks} landmarks" if landmarks is not None and names & WITH_MODEL else "",
        f"{'+'.join(str(count) for count in epochs)} epochs" if epochs else "",
        f"seed {parameters.get('seed', 0)}",
    ]
    return "".join(f", {detail}" for detail in details if detail)


def _recipe(parameters: dict[str, Any]) -> str:
    return "warps" if _group(parameters, "landmarks").get("method") == "warps" else "recognition"


def _group(values: dict[str, Any], *path: str) -> dict[str, Any]:
    for name in path:
        values = values.get(name) or {}
    return values


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
