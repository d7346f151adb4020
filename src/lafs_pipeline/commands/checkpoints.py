"""What trainings have left in a folder: a list, and deleting those that are named."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import held_alone
from lafs_pipeline.runtime.settings import flattened
from lafs_pipeline.training.checkpoints.folders import (
    TrainingFolder,
    find_trainings,
    readable_size,
    remove_training,
    shortened,
)

COLUMNS = ("NAME", "SIZE", "STEP", "AGE", "CONFIGURATION")
AGES = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


def list_trainings(folder: Path) -> int:
    """Print one line per training, with what tells it from the others of its stage.

    Returns:
        The exit status.

    Raises:
        LafsError: the folder does not exist.
    """
    trainings = _by_name(folder)
    if not trainings:
        print(f"no trainings in {folder}")
        return 0
    _print_table(trainings)
    sizes = sum(training.size() for training in trainings.values())
    print(f"{len(trainings)} trainings, {readable_size(sizes)}; lafs checkpoints --delete NAME removes one")
    return 0


def delete_trainings(folder: Path, names: Sequence[str], yes: bool) -> int:
    """Show the trainings that are named, ask, and delete them.

    Returns:
        The exit status: 1 where the answer is no.

    Raises:
        LafsError: a name is not listed, or a training is in use; nothing is deleted then.
    """
    trainings = _by_name(folder)
    if unknown := [name for name in names if name not in trainings]:
        known = ", ".join(trainings) or "none at all"
        raise LafsError(f"{folder} holds no training {', '.join(unknown)}; there are {known}")
    chosen = {name: trainings[name] for name in trainings if name in names}
    with ExitStack() as held:
        for training in chosen.values():
            held.enter_context(held_alone(training.path))
        _print_table(trainings, chosen)
        if not yes and not _confirmed(len(chosen)):
            print("Nothing is deleted.")
            return 1
        for name, training in chosen.items():
            remove_training(training.path)
            print(f"deleted {name}")
    return 0


def _confirmed(count: int) -> bool:
    try:
        return input(f"Delete {count} training{'s' * (count > 1)} for good? [y/N] ").strip().lower() == "y"
    except EOFError:
        raise LafsError("nobody is there to confirm; add --yes to delete without asking") from None


def _by_name(folder: Path) -> dict[str, TrainingFolder]:
    """The trainings below a folder, by stage and within one by age."""
    if not folder.is_dir():
        raise LafsError(f"{folder} does not exist; expected the folder of checkpoints, below LAFS_DATA")
    found = sorted(find_trainings(folder), key=lambda training: str(training.path.parent))
    return {str(training.path.relative_to(folder)): training for training in found}


def _print_table(
    trainings: Mapping[str, TrainingFolder], shown: Mapping[str, TrainingFolder] | None = None
) -> None:
    """A line per training that is shown, with what tells it from all of its stage."""
    telling: dict[str, str] = {}
    for _, group in groupby(trainings.items(), key=lambda item: item[1].path.parent):
        telling |= _telling_values(dict(group))
    rows = [COLUMNS]
    for name, training in (trainings if shown is None else shown).items():
        age = _age(time.time() - training.written)
        step = f"{training.step} of {training.total_steps or '?'}"
        rows.append((name, readable_size(training.size()), step, age, telling[name]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _telling_values(trainings: Mapping[str, TrainingFolder]) -> dict[str, str]:
    """Of each training, the values that are not the same in all."""
    flat = {name: flattened(training.configuration) for name, training in trainings.items()}
    keys = sorted({key for values in flat.values() for key in values})
    differing = [key for key in keys if len({str(values.get(key)) for values in flat.values()}) > 1]
    return {
        name: ", ".join(f"{key}={shortened(values[key])}" for key in differing if key in values)
        for name, values in flat.items()
    }


def _age(seconds: float) -> str:
    unit, length = next((age for age in AGES if seconds >= 2 * age[1]), AGES[-1])
    return f"{max(0, seconds) / length:.0f} {unit}"
