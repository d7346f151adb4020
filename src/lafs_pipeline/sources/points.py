"""The five points of images, given in a file."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.faces.manifest import POINT_COLUMNS
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.source import printable


def read_points(path: Path | str, folder: Path | str | None = None) -> dict[str, np.ndarray]:
    """Read five points per image, by name of the image.

    Args:
        path: A CSV with columns file,x1,y1..x5,y5, or lines `file x1 y1 .. x5 y5 [score]` without a heading,
            as IJB's `ijbc_name_5pts_score.txt` has.
        folder: Where the images lie: names in the file may start here or at the file's own folder.

    Returns:
        Name -> (5, 2) float32 x, y in pixels.

    Raises:
        LafsError: The file is missing or has another form.
    """
    path = Path(path)
    expected = "expected a CSV of file,x1,y1..x5,y5 or lines 'file x1 y1 .. x5 y5 score'"
    try:
        with path.open(encoding="utf-8") as stream:
            first = stream.readline()
        if "," in first:
            table = pd.read_csv(path, dtype=dict.fromkeys(POINT_COLUMNS, np.float32) | {"file": str})
        else:
            columns = ["file", *POINT_COLUMNS, "score"][: max(11, min(12, len(first.split())))]
            types = dict.fromkeys(columns, np.float32) | {"file": str}
            table = pd.read_csv(path, sep=r"\s+", header=None, names=columns, dtype=types, index_col=False)
    except FileNotFoundError:
        raise LafsError(f"points file {path} does not exist.") from None
    except (ValueError, OSError) as error:
        raise LafsError(f"points file {path} cannot be read, {expected}: {error}") from error
    missing = [column for column in ["file", *POINT_COLUMNS] if column not in table]
    if missing:
        raise LafsError(f"points file {path} has no column {', '.join(missing)}; {expected}.")
    if not len(table):
        raise LafsError(f"points file {path} has no rows; {expected}.")
    if table["file"].isna().any():
        raise LafsError(f"points file {path}: row {int(table['file'].isna().argmax()) + 1} names no file.")
    below = os.path.relpath(folder, path.parent) if folder is not None else "."
    prefix = "" if below == "." else f"{printable(below)}/"
    files = [printable(name).removeprefix(prefix) for name in table["file"]]
    return dict(zip(files, table[POINT_COLUMNS].to_numpy().reshape(-1, 5, 2), strict=True))
