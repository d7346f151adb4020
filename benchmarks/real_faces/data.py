"""One store of faces with a table beside it, small enough to travel."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lafs_pipeline.cataloging.hashes import exact_hash
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.protocols.held_out import draw_pairs
from lafs_pipeline.protocols.pair_lists import read_lfw_pairs
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.sources.recordio import RecordIOWriter

STORE, TABLE, PAIRS = "faces.rec", "faces.parquet", "pairs.parquet"
UNLABELED, LABELED, PEOPLE, LFW = "unlabeled", "labeled", "people", "lfw"
HELD_OUT = 60
"""People of the labeled set on whom everything is chosen; they are in no training."""
QUALITY = 70
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def pack(folder: Path, roots: dict[str, Path], pairs_file: Path, without: list[str]) -> None:
    """Write all faces as WebP into one store, and the pairs of the three verification sets."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with RecordIOWriter(folder / STORE) as writer:
        for name, root in roots.items():
            for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES):
                person = None if name == UNLABELED else f"{name}/{path.parent.name}"
                if path.parent.name in without and name == LABELED:
                    continue
                encoded = cv2.imencode(".webp", cv2.imread(str(path)), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
                data, record = encoded.tobytes(), len(rows)
                offset = writer.write_image(record, data, 0.0)
                key = f"{name}/{path.relative_to(root).as_posix()}"
                rows.append((key, person, name, record, offset, exact_hash(data)))
    table = pd.DataFrame(rows, columns=["key", "identity", "source", "record", "offset", "exact_hash"])
    table = _held_out(table).assign(channel_order="rgb")
    lists = {
        "development": _drawn(table[table["split"] == "development"], 3000, 0),
        "people": _drawn(table[table["source"] == PEOPLE], 6000, 1),
        "lfw": _lfw_pairs(pairs_file, table),
    }
    pd.concat(pairs.assign(benchmark=name) for name, pairs in lists.items()).to_parquet(folder / PAIRS)
    table.to_parquet(folder / TABLE)


def _held_out(table: pd.DataFrame) -> pd.DataFrame:
    names = np.sort(table.loc[table["source"] == LABELED, "identity"].unique())
    chosen = random_generator(0, "held out").choice(names, HELD_OUT, replace=False)
    splits = np.where(table["source"].isin([UNLABELED, LABELED]), "train", table["source"])
    return table.assign(split=np.where(table["identity"].isin(chosen), "development", splits))


def _drawn(faces: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    pairs = draw_pairs(faces["identity"].to_numpy(), count, 10, seed)
    keys = faces["key"].to_numpy()
    return pd.DataFrame(
        {"a": keys[pairs["a"]], "b": keys[pairs["b"]], "is_same": pairs["is_same"], "fold": pairs["fold"]}
    )


def _lfw_pairs(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    pairs = read_lfw_pairs(path, ".jpg")
    sides = {side: f"{LFW}/" + pairs[f"name_{side}"] for side in "ab"}
    return pd.DataFrame(sides | {"is_same": pairs["is_same"], "fold": pairs["fold"]})


def unpacked(folder: Path) -> pd.DataFrame:
    """The table of the faces in a store of uncompressed images, which is made where it is absent."""
    table = pd.read_parquet(folder / TABLE)
    raw, index = folder / "raw.rec", folder / "raw.parquet"
    if not index.exists():
        faces = FaceImages(table.assign(store=str(folder / STORE)))
        with RecordIOWriter(raw) as writer:
            offsets = [
                writer.write_image(row, cv2.imencode(".bmp", faces[row][:, :, ::-1])[1].tobytes(), 0.0)
                for row in range(len(faces))
            ]
        table.assign(offset=offsets, record=range(len(table))).to_parquet(index)
    return pd.read_parquet(index).assign(store=str(raw))
