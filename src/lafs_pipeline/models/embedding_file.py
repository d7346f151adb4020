"""Embeddings that another program has made: a file of keys and vectors in place of a model."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lafs_pipeline.faces.manifest import fingerprint
from lafs_pipeline.models.embedding import Embeddings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import refuse_lfs_pointer

COLUMNS = ("key", "embedding")
NUMBER = "{:06d}"
"""How the images of a `.bin` are numbered."""

logger = logging.getLogger(__name__)


class EmbeddingFile:
    """A Parquet file with the columns key and embedding, as `lafs embed` writes, or a `.npy` beside its keys.

    A key is that of the face in the catalog, `<benchmark>/<image>`, or the image's alone where one benchmark
    has it; the images of a `.bin` are numbered from 0.

    Args:
        path: of a `.npy` (n, D), the file of the same name that ends with `.txt` has a key a line.

    Attributes:
        digest: SHA-256 of the file (and of the keys beside it).
        vectors: (n, D).
        preprocessing: for the table: the name of the file.

    Raises:
        LafsError: the file is missing, damaged or of another layout, or a key stands twice.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise LafsError(f"embeddings file {path} does not exist")
        refuse_lfs_pointer(self.path)
        self.preprocessing = f"embeddings of {self.path.name}"
        files = [self.path]
        if self.path.suffix == ".npy":
            files.append(self.path.with_suffix(".txt"))
            keys, self.vectors = _read_npy(*files)
        else:
            keys, self.vectors = _read_parquet(self.path)
        if self.vectors.ndim != 2 or len(self.vectors) != len(keys) or not len(keys):
            raise LafsError(f"{path} has vectors {self.vectors.shape} for {len(keys)} keys; expected (n, D)")
        doubled = keys[keys.duplicated()].unique()
        if len(doubled):
            raise LafsError(f"{path} has {_some(doubled)} more than once: give every image one embedding")
        self.rows = pd.Series(range(len(keys)), index=keys)
        self.digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def embeddings(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, Embeddings]:
        """Of the faces of every benchmark that the file has any key of.

        Args:
            tables: by benchmark, rows of the manifest.

        Raises:
            LafsError: some images of a benchmark are not in the file, or none of any.
        """
        keys = {name: faces["key"].sort_values().reset_index(drop=True) for name, faces in tables.items()}
        own = {name: each.str.removeprefix(f"{name}/") for name, each in keys.items()}
        shared = pd.concat([pd.Series(dtype=str), *(each.drop_duplicates() for each in own.values())])
        ambiguous = set(shared[shared.duplicated()])
        found = {}
        for name, whole in keys.items():
            short = own[name].where(~own[name].isin(ambiguous))
            rows = self.rows.reindex(whole).to_numpy()
            rows = np.where(np.isnan(rows), self.rows.reindex(short).to_numpy(), rows)
            missing = whole[np.isnan(rows)]
            if len(missing) == len(whole):
                logger.warning("%s has no image of benchmark '%s', which is left out", self.path, name)
                continue
            if len(missing):
                raise LafsError(
                    f"{self.path} has no embedding of {_some(missing)} of benchmark '{name}'; embed the "
                    "images that are missing, or leave the benchmark out"
                )
            found[name] = Embeddings(
                pd.Series(rows.astype(int), index=whole), self.vectors, fingerprint(tables[name])
            )
        if tables and not found:
            example = next(iter(keys.values())).iloc[0]
            raise LafsError(
                f"{self.path} has no image of any benchmark: its keys are like '{self.rows.index[0]}', "
                f"those of the benchmarks like '{example}'"
            )
        return found


def _read_npy(path: Path, names: Path) -> tuple[pd.Index, np.ndarray]:
    try:
        return pd.Index(names.read_text(encoding="utf-8").splitlines()), np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise LafsError(f"{names} does not exist; expected a line a row of {path.name}, its key") from None
    except (OSError, EOFError, ValueError) as error:
        raise LafsError(f"embeddings file {path} cannot be read: {error}") from error


def _read_parquet(path: Path) -> tuple[pd.Index, np.ndarray]:
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
        keys, vectors = table["key"], table["embedding"].combine_chunks()
        width, odd = divmod(len(vectors.flatten()), max(len(vectors), 1))
        if odd or pa.compute.list_value_length(vectors).unique().to_pylist() != [width]:
            raise ValueError("its embeddings are not all of one length")
        numbers = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
        raise LafsError(
            f"embeddings file {path} cannot be read ({error}); expected Parquet with the columns key and "
            "embedding (a list of numbers of one length), as `lafs embed` writes"
        ) from error
    plain = keys.to_pylist()
    return pd.Index([NUMBER.format(key) if isinstance(key, int) else str(key) for key in plain]), numbers


def _some(keys: pd.Index | pd.Series) -> str:
    shown = ", ".join(map(str, keys[:3]))
    return f"{len(keys)} images ({shown}{', ...' if len(keys) > 3 else ''})"
