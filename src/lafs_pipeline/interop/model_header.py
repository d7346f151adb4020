"""Headers of model files, read without torch: a run is labeled before anything heavy is imported."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from lafs_pipeline.models.provenance import Provenance
from lafs_pipeline.runtime.errors import LafsError

FORMAT = "lafs_pipeline.model.1"


def read_sizes(path: Path | str) -> tuple[str, dict[str, Any]]:
    """Family and sizes of the model in a file, without its weights.

    Raises:
        LafsError: when the file is missing, damaged or not one of ours.
    """
    path = Path(path)
    with open_model_file(path, "numpy") as file:
        return sizes_of(path, file)


def read_digest(path: Path | str) -> str | None:
    """:func:`lafs_pipeline.models.digest.model_digest` of the model in a file; None in files of old.

    Raises:
        LafsError: when the file is missing or damaged.
    """
    with open_model_file(Path(path), "numpy") as file:
        return (file.metadata() or {}).get("digest")


@contextmanager
def open_model_file(path: Path, framework: Literal["numpy", "pt"]) -> Iterator[Any]:
    """A safetensors file, open to be read.

    Raises:
        LafsError: when the file is missing or damaged.
    """
    if not path.is_file():
        raise LafsError(f"model file {path} does not exist")
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise LafsError(f"model file {path} is damaged: {error}; train or copy it again") from error


def sizes_of(path: Path, file: Any) -> tuple[str, dict[str, Any]]:
    """Family and sizes in the header of an open file.

    Raises:
        LafsError: when the file is not one of ours.
    """
    header = file.metadata() or {}
    if header.get("format") != FORMAT:
        raise LafsError(f"model file {path} was not written by lafs_pipeline (header: {header})")
    try:
        return header["family"], json.loads(header["sizes"])
    except (KeyError, ValueError) as error:
        raise LafsError(f"model file {path} does not fit its own header: {error}") from error


def provenance_of(file: Any) -> Provenance | None:
    """The training named in the header of an open file; None where none is."""
    header = file.metadata() or {}
    names = [field.name for field in fields(Provenance)]
    return Provenance(*map(header.get, names)) if all(name in header for name in names) else None
