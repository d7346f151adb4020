"""A folder of images becomes one Parquet file of embeddings."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from lafs_pipeline.commands.models import OpenModel, open_model
from lafs_pipeline.evaluation.loose_faces import LooseFaces, embed_loose_faces
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.open import SourceSettings


def embed_folder(folder: Path, model_path: Path, out: Path, detector: Path | None) -> int:
    """Write key (path below the folder) and embedding of every image that can be used; the others are named.

    Returns:
        The exit status.

    Raises:
        LafsError: folder, model or detector are wrong, no image can be used, or the file cannot be written.
    """
    faces = LooseFaces(FolderSource(folder, labeled=False), loose_settings(detector))
    model = open_model(model_path)
    try:
        with whole_file(out) as temporary:
            written, left_out, width = _write(temporary, model, faces)
            if not written:
                raise LafsError(f"none of the {left_out} images below {folder} can be used{_hint(detector)}")
    except OSError as error:
        raise LafsError(f"embeddings cannot be written to {out} ({error.strerror})") from error
    print(f"{written} faces embedded, {width} numbers each, of length 1: {out}")
    if left_out:
        print(f"{left_out} images could not be used; they are named above", file=sys.stderr)
    return 0


def _hint(detector: Path | None) -> str:
    return "; photographs need --detector" if detector is None else ""


def loose_settings(detector: Path | None) -> SourceSettings:
    """Images that a detector aligns, or that are aligned already where there is none."""
    return SourceSettings(aligned=detector is None, detector=None if detector is None else str(detector))


def _write(path: Path, model: OpenModel, faces: LooseFaces) -> tuple[int, int, int]:
    """How many faces are written, how many images are left out, and the width of an embedding."""
    written, left_out, width, writer = 0, 0, 0, None
    try:
        for batch in embed_loose_faces(model.embed, faces, model.device):
            for key, reason in batch.unusable.items():
                tqdm.write(f"left out: {key}: {reason}", file=sys.stderr)
            left_out += len(batch.unusable)
            if batch.keys:
                table = _table(batch.keys, batch.vectors, model.digest)
                writer = writer or pq.ParquetWriter(path, table.schema)
                writer.write_table(table)
                written, width = written + len(batch.keys), batch.vectors.shape[1]
    finally:
        if writer is not None:
            writer.close()
    return written, left_out, width


def _table(keys: list[str], vectors: np.ndarray, digest: str | None) -> pa.Table:
    embeddings = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.table({"key": pa.array(keys, pa.string()), "embedding": embeddings})
    return table.replace_schema_metadata({"model_digest": digest or ""})
