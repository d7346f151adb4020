"""Parameter groups of `conf/`: the settings that they become, or one message that names what is wrong."""

import logging
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from lafs_pipeline.pipelines.checks import nearest
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import local_path
from lafs_pipeline.runtime.settings import setting, settings

if TYPE_CHECKING:
    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.training.recipes.settings import LandmarkSettings, PretrainSettings

T = TypeVar("T")
EXAMPLE_IMAGES, EXAMPLE_LANDMARKS = 20_000, 196
"""By which `auto` is resolved where parameters are only checked."""

logger = logging.getLogger(__name__)


@settings
class ModelSettings:
    """Which model is trained."""

    name: str = setting("timm name of a Part fViT", "part_fvit_base_patch8_112")
    sizes: dict[str, int | float | str] = setting("overrides of that model's sizes", {})


@settings
class ExportSettings:
    """What cataloging also writes for other programs."""

    recordio: str | None = setting("train.rec in InsightFace's layout, of the labeled training faces", None)
    pair_sets: dict[str, str] = setting("benchmark name -> .bin or .rec file of its pairs", {})

    def __post_init__(self):
        if self.recordio is not None:
            object.__setattr__(self, "recordio", local_path(self.recordio, "`recordio`"))
        for name, path in self.pair_sets.items():
            self.pair_sets[name] = local_path(path, f"`pair_sets.{name}`")


@settings
class ModelExportSettings:
    """In which formats models are exported, besides safetensors with a card."""

    formats: list[Literal["onnx", "official"]] = setting(
        "onnx: one graph from images to embeddings; official: the authors' state dict, for a Part fViT with "
        "heads of 64 and the whole landmark network",
        ["onnx"],
    )


@settings
class ReportSettings:
    """What the report shows."""

    hardest_pairs: int = setting("false accepts and false rejects shown, of each at most", 6, ge=0)
    attention_faces: int = setting("faces with attention maps", 6, ge=1)


@settings
class TrackingSettings:
    """What MLflow gets of a run."""

    enabled: bool = setting(
        "false tracks nothing: no store is contacted, metrics.jsonl is written all the same", True
    )
    registered_model: str | None = setting(
        "name in MLflow's model registry under which the face model adapted from LAFS (or else from grid "
        "DINO) gets a new version; null registers none",
        "lafs_face_model",
    )


GROUPS = {
    "cataloging": "lafs_pipeline.cataloging.planning:CatalogSettings",
    "export": f"{__name__}:ExportSettings",
    "launch": "lafs_pipeline.runtime.launch_settings:LaunchSettings",
    "model": f"{__name__}:ModelSettings",
    "landmarks": "lafs_pipeline.training.recipes.settings:LandmarkSettings",
    "landmark_quality": "lafs_pipeline.evaluation.settings:LandmarkQualitySettings",
    "pretrain": "lafs_pipeline.training.recipes.settings:PretrainSettings",
    "adapt": "lafs_pipeline.training.recipes.settings:AdaptSettings",
    "evaluate": "lafs_pipeline.evaluation.settings:EvaluateSettings",
    "report": f"{__name__}:ReportSettings",
    "study": "lafs_pipeline.evaluation.settings:StudySettings",
    "model_export": f"{__name__}:ModelExportSettings",
    "tracking": f"{__name__}:TrackingSettings",
}
"""Where the settings of each group of `parameters*.yml` stand; a pipeline imports those it uses."""
RENAMED = {
    "grey_probability": "gray_probability",
    "grid_local_scale": "pretrain.grid.local_scale",
    "grid_local_size": "pretrain.grid.local_size",
    "initial_weights": "weights",
    "labelled": "labeled",
    "landmark_regularisation": "landmark_regularization",
    "normalise_images": "normalize_images",
    "solarise_probability": "solarize_probability",
    "tokens": "methods",
}
"""Names that parameters had, and what they are called now."""
IN_CATALOG = {"evaluate.embeddings": "embeddings", "report.study_runs": "earlier_study_runs"}
"""Parameters that were paths, and the entries of the catalog that say them now."""


def group_settings(group: str) -> type:
    """The settings that a group of `GROUPS` becomes."""
    return pkgutil.resolve_name(GROUPS[group])


def parse_pretraining(
    values: dict[str, Any], images: int, network: "LandmarkNetwork | None"
) -> "PretrainSettings":
    """Build the settings of a pretraining, with numbers in place of `auto`, which are logged.

    Args:
        values: the group `pretrain`.
        images: of the training.
        network: whose landmarks tokens are cut at; None where no method has any.

    Raises:
        LafsError: as :func:`parse`.
    """
    from lafs_pipeline.training.recipes.settings import PretrainSettings

    landmarks = EXAMPLE_LANDMARKS if network is None else network.sizes["num_landmarks"]
    return parse(PretrainSettings, _with_numbers(values, "pretrain", images, landmarks), "pretrain")


def parse_landmarks(values: dict[str, Any], images: int) -> "LandmarkSettings":
    """Build the settings of the landmark network, with numbers in place of `auto`, which are logged.

    Args:
        values: the group `landmarks`.
        images: of the training.

    Raises:
        LafsError: as :func:`parse`.
    """
    from lafs_pipeline.training.recipes.settings import LandmarkSettings

    return parse(LandmarkSettings, _with_numbers(values, "landmarks", images), "landmarks")


def _with_numbers(
    values: dict[str, Any], group: str, images: int, landmarks: int = EXAMPLE_LANDMARKS
) -> dict[str, Any]:
    from lafs_pipeline.tracking.tracker import log_resolved

    full, resolved = _filled(values, group, images, landmarks)
    if resolved:
        said = ", ".join(f"{name} {value:g}" for name, value in resolved.items())
        logger.info("%s: for %d images, auto is %s", group, images, said)
        log_resolved({f"auto.{group}.{name}": value for name, value in resolved.items()})
    return full


def _filled(
    values: dict[str, Any], group: str, images: int, landmarks: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    from lafs_pipeline.training.recipes.automatic import (
        automatic_landmarks,
        automatic_pretraining,
        filled,
        given,
    )

    if group == "pretrain":
        batch_size, epochs = given(values, "training.batch_size"), given(values, "training.epochs")
        if isinstance(batch_size, int) and batch_size > 0:
            return filled(values, automatic_pretraining(images, landmarks, batch_size, epochs))
    if group == "landmarks":
        batch_size = given(values, "warps.training.batch_size")
        if isinstance(batch_size, int) and batch_size > 0:
            return filled(values, automatic_landmarks(images, batch_size))
    return values, {}


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def check(values: dict[str, Any], group: str) -> Any:
    """Build the settings of a group of `GROUPS`, with an example's numbers in place of `auto`.

    Raises:
        LafsError: as :func:`parse`.
    """
    return parse(group_settings(group), _filled(values, group, EXAMPLE_IMAGES, EXAMPLE_LANDMARKS)[0], group)


def parse(kind: type[T], values: dict[str, Any], group: str) -> T:
    """Build settings from a group of parameters.

    Raises:
        LafsError: when a key is unknown, or a value is missing, of the wrong kind or out of its range.
    """
    try:
        return _adapter(kind).validate_python(_written_out(values) if group == "evaluate" else values)
    except ValidationError as error:
        raise LafsError("; ".join(_describe(kind, group, item) for item in error.errors())) from None
    except LafsError as error:
        raise LafsError(f"parameter group {group}: {error}") from None


def _written_out(values: dict[str, Any]) -> dict[str, Any]:
    """The group `evaluate` with `path` in place of a text that names a model."""
    models = values.get("models")
    if not isinstance(models, dict):
        return values
    named = {
        str(name): {"path": given} if isinstance(given, str) else given for name, given in models.items()
    }
    return values | {"models": named}


def _describe(kind: type, group: str, item: dict[str, Any]) -> str:
    path = [str(part) for part in item["loc"]]
    name = ".".join([group, *path])
    if item["type"] == "unexpected_keyword_argument":
        if name in IN_CATALOG:
            return (
                f"parameter {name} is gone: the entry {IN_CATALOG[name]} of the catalog says where; "
                "remove it from conf/"
            )
        if path[-1] in RENAMED:
            return f"parameter {name} is called {RENAMED[path[-1]]} now; rename it in conf/"
        allowed = _allowed(kind, path[:-1])
        return (
            f"parameter {name} is unknown{nearest(path[-1], allowed)}; {'.'.join([group, *path[:-1]])} has "
            f"{', '.join(allowed)}"
        )
    if item["type"] == "missing":
        return f"parameter {name} is missing; set it in conf/"
    return f"parameter {name} is {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _allowed(kind: type, path: list[str]) -> list[str]:
    """Field names of the settings at `path`, read from the JSON schema."""
    schema = _adapter(kind).json_schema()
    definitions = schema.get("$defs", {})
    here = schema
    for part in path:
        here = here.get("properties", {}).get(part, here.get("additionalProperties", {}))
        reference = here.get("$ref") or next(
            (option["$ref"] for option in here.get("anyOf", []) if "$ref" in option), None
        )
        here = definitions[reference.rsplit("/", 1)[1]] if reference else here
    return list(here.get("properties", {}))
