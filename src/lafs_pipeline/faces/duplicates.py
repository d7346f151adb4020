"""Images that are there more than once: equal bytes, or one photograph compressed, scaled or mirrored."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.hashes import thumbnail
from lafs_pipeline.faces.manifest import typed_table
from lafs_pipeline.faces.near_pairs import find_near_pairs

DUPLICATE_TYPES = (
    {"key_a": "string", "key_b": "string", "kind": "category", "mirrored": "bool", "distance": "int64"}
    | {"similarity": "float32", "identity_a": "string", "identity_b": "string", "same_identity": "boolean"}
    | {"split_a": "category", "split_b": "category"}
)
_DISTANCES = {100_000: 10, 2_000_000: 8}
_FEWEST_BITS = 6
_BATCH = 1 << 15


def find_duplicates(
    manifest: pd.DataFrame, distance: int | None = None, similarity: float = 0.9, threads: int = 1
) -> pd.DataFrame:
    """Exact and near duplicates among the images of a manifest.

    Exact duplicates have equal bytes. Near duplicates have perceptual hashes that differ in few bits and, at
    a second look, details that correlate: the hashes of millions of faces come close by chance, their details
    do not. Of images with equal bytes the first stands for all: it is paired with each of the others, and it
    alone is compared with different images.

    Args:
        manifest: The images, their stores at hand.
        distance: Most bits in which hashes of near duplicates differ; None takes 10 for up to 100,000 images,
            8 for up to 2,000,000 and 6 for more, since chance brings forth more neighbours among more images.
        similarity: Least correlation of :func:`lafs_pipeline.faces.hashes.thumbnail` of near duplicates.
        threads: Threads that search and look.

    Returns:
        One row a pair, a before b in the manifest, sorted by their places: key_a, key_b, kind (`exact` or
        `near`), mirrored, distance (bits), similarity, identity_a, identity_b, same_identity (missing where
        one is not known), split_a, split_b.

    Raises:
        LafsError: A store or a record cannot be read.
    """
    exact = manifest["exact_hash"].to_numpy()
    _, first, group = np.unique(exact, return_index=True, return_inverse=True)
    representative = first[group]
    copies = np.flatnonzero(representative != np.arange(len(manifest)))
    near = _near_duplicates(manifest, np.sort(first), distance, similarity, threads)
    exactly = (
        representative[copies],
        copies,
        np.zeros(len(copies)),
        np.ones(len(copies)),
        np.zeros(len(copies)),
    )
    a, b, bits, alike, mirrored = (np.concatenate(columns) for columns in zip(exactly, near, strict=True))
    kinds = np.repeat(["exact", "near"], [len(copies), len(near[0])])
    order = np.lexsort([b, a])
    a, b = a[order].astype(np.int64), b[order].astype(np.int64)
    side_a, side_b = manifest.iloc[a], manifest.iloc[b]
    identity_a, identity_b = (side["identity"].reset_index(drop=True) for side in (side_a, side_b))
    columns = {
        "key_a": side_a["key"],
        "key_b": side_b["key"],
        "kind": kinds[order],
        "mirrored": mirrored[order].astype(bool),
        "distance": bits[order].astype(np.int64),
        "similarity": alike[order],
        "identity_a": identity_a,
        "identity_b": identity_b,
        "same_identity": identity_a == identity_b,
        "split_a": side_a["split"],
        "split_b": side_b["split"],
    }
    return typed_table(DUPLICATE_TYPES, list(columns.values()))


def default_distance(images: int) -> int:
    """Bits in which the hashes of near duplicates may differ, by the number of images."""
    return next((bits for limit, bits in _DISTANCES.items() if images <= limit), _FEWEST_BITS)


def _near_duplicates(
    manifest: pd.DataFrame, rows: np.ndarray, distance: int | None, similarity: float, threads: int
) -> tuple[np.ndarray, ...]:
    """a, b, distance, similarity, mirrored of near duplicates among some rows."""
    hashes = manifest["perceptual_hash"].iloc[rows]
    rows = rows[hashes.notna().to_numpy()]
    distance = default_distance(len(rows)) if distance is None else distance
    pairs = find_near_pairs(hashes.dropna().to_numpy(np.int64), distance, threads)
    a, b = rows[pairs.a], rows[pairs.b]
    alike = np.zeros(len(a), np.float32)
    images = FaceImages(manifest)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(a), _BATCH):
            part = slice(start, start + _BATCH)
            members, places = np.unique([a[part], b[part]], return_inverse=True)
            looks = np.stack(list(pool.map(lambda row: thumbnail(images[row]), members)))
            left, right = looks[places.reshape(2, -1)]
            right = np.where(pairs.mirrored[part, None, None], right[:, :, ::-1], right)
            alike[part] = np.einsum("nij,nij->n", left, right)
    kept = alike >= similarity
    return a[kept], b[kept], pairs.distance[kept], alike[kept], pairs.mirrored[kept]
