"""What can be known of parameters before anything runs: names that nobody reads, groups that do not fit."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lafs_pipeline.models.sizes import LANDMARKS, PATCH_SIZE, SIZE_NAMES
from lafs_pipeline.runtime.errors import LafsError

GIVEN = re.compile(r"runtime_params:\s*(\w+)")
"""How a file of `conf` takes a value that `--params` gives outside of all groups."""
LEFT_OPEN = re.compile(r"\$\{runtime_params:\s*(\w+),\s*\$\{environment:\s*(\w+)\}\}")


def given_names(conf: Path) -> set[str]:
    """Names that the files of a configuration take from `--params`."""
    return {name for file in conf.rglob("*.yml") for name in GIVEN.findall(file.read_text(encoding="utf-8"))}


def require_given(conf: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse to begin without values that a configuration leaves to the command.

    Args:
        conf: the folder of an environment.
        parameters: all groups, resolved.

    Raises:
        LafsError: names every parameter that is missing, and how it is given.
    """
    missing = []
    for file in sorted(conf.glob("parameters*.yml")):
        for path, value in _leaves(yaml.safe_load(file.read_text(encoding="utf-8")) or {}):
            found = LEFT_OPEN.fullmatch(value) if isinstance(value, str) else None
            entry = _at(parameters, path[:-1])
            if found and entry is not None and entry.get(path[-1]) is None and not _is_left_out(entry):
                name, variable = found.groups()
                missing.append(f"{'.'.join(path)} by --params {name}=PATH or the variable {variable}")
    if missing:
        raise LafsError(f"these parameters are not set; give {'; '.join(missing)}")


def _is_left_out(entry: Mapping[str, Any]) -> bool:
    """Whether it may be left out, and nothing is given of it."""
    return bool(entry.get("optional")) and entry.get("path") is None and entry.get("pairs_file") is None


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, str(name)))
        else:
            yield (*above, str(name)), value


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def refuse_unknown(parameters: Mapping[str, Any], known: Iterable[str], within: str = "") -> None:
    """Refuse parameters that nothing reads.

    Args:
        parameters: by name.
        known: names that are read.
        within: the group of these.

    Raises:
        LafsError: one is unknown; says which name is nearest.
    """
    known = sorted(known)
    for name in parameters:
        if name not in known:
            here = f"{within} has" if within else "there are"
            raise LafsError(
                f"parameter {within}{'.' if within else ''}{name} is unknown{nearest(name, known)}; "
                f"{here} {', '.join(known)}"
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """`, the nearest is ...` where a known name is like this one, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f", the nearest is {found[0]}" if found else ""


def check_together(groups: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse groups that do not fit each other.

    Args:
        groups: settings by name of their group, those that a pipeline uses.
        given: the parameters as they stand, where numbers may be `auto`.

    Raises:
        LafsError: names the parameters of both.
    """
    model, pretrain, study = (groups.get(name) for name in ("model", "pretrain", "study"))
    if model is not None:
        refuse_unknown(model.sizes, SIZE_NAMES, "model.sizes")
    if model is not None and pretrain is not None:
        landmarks, views = model.sizes.get("num_landmarks", LANDMARKS), pretrain.views
        kept = _at(given, ("pretrain", "views", "local_landmarks"))
        if (
            "lafs" in pretrain.methods
            and not views.with_replacement
            and isinstance(kept, int)
            and kept > landmarks
        ):
            raise LafsError(
                f"pretrain.views.local_landmarks is {kept} and the model has {landmarks} "
                f"(model.sizes.num_landmarks): give at most {landmarks}, or null to keep all"
            )
        patch = model.sizes.get("patch_size", PATCH_SIZE)
        grids = {"pretrain.grid.local_size": pretrain.grid.local_size, "pretrain.views.size": views.size}
        with_grid = "grid" in pretrain.methods or (
            study is not None and any("grid" in method for method in study.methods)
        )
        for name, size in grids.items() if with_grid else ():
            if size % patch:
                below = size // patch * patch
                nearest_sizes = " or ".join(str(side) for side in (below, below + patch) if side)
                raise LafsError(
                    f"{name} is {size}, no multiple of the model's patch of {patch} pixels "
                    f"(model.sizes.patch_size): give {nearest_sizes}"
                )
    _check_batches(groups)


def _check_batches(groups: Mapping[str, Any]) -> None:
    launch = groups.get("launch")
    if launch is None or launch.processes == "auto":
        return
    from lafs_pipeline.training.sampling import require_whole

    recipes = {
        "pretrain": getattr(groups.get("pretrain"), "training", None),
        "adapt.recognition": getattr(getattr(groups.get("adapt"), "recognition", None), "training", None),
    }
    if (landmarks := groups.get("landmarks")) is not None and landmarks.method != "weights":
        recipe = "warps" if landmarks.method == "warps" else "recognition"
        recipes[f"landmarks.{recipe}"] = getattr(landmarks, recipe).training
    for name, training in recipes.items():
        if training is not None:
            try:
                require_whole(training.batch_size, training.accumulation, launch.processes * launch.nodes)
            except LafsError as error:
                raise LafsError(str(error).replace("training.", f"{name}.training.")) from None
