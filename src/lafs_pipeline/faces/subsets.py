"""Few-shot subsets and class labels of a manifest."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed


def select_shots(
    manifest: pd.DataFrame,
    shots: int | None,
    seed: int,
    identity_fraction: float = 1.0,
    keys: Collection[str] | None = None,
    min_images: int = 1,
) -> pd.DataFrame:
    """Keep `shots` images of each identity, of a share of the identities.

    The draw ranks keys and identities by a hash of (seed, name): it does not depend on the order of rows, a
    larger subset of the same seed contains the smaller one, and adding identities changes no other's images.
    Identities with fewer than `shots` images keep what they have.

    Args:
        manifest: Rows to choose from; unlabeled ones are left out.
        shots: Images per identity; None keeps all.
        seed: Seed of the draw.
        identity_fraction: Share of the identities, rounded up, in (0, 1].
        keys: An explicit list; other rows are left out before anything is drawn.
        min_images: Identities with fewer images (after `keys`) are dropped.

    Returns:
        The chosen rows in the order of `manifest`.

    Raises:
        LafsError: A number is out of range, a key is not in the manifest, or nothing is left.
    """
    if shots is not None and shots < 1:
        raise LafsError(f"shots is {shots}; expected at least 1 image per identity, or none for all.")
    if not 0 < identity_fraction <= 1:
        raise LafsError(f"identity_fraction is {identity_fraction}; expected more than 0 and at most 1.")
    chosen = manifest[manifest["identity"].notna()]
    if keys is not None:
        absent = sorted(set(keys) - set(manifest["key"]))
        if absent:
            raise LafsError(
                f"{len(absent)} listed keys are not in the manifest, first {', '.join(absent[:3])}."
            )
        chosen = chosen[chosen["key"].isin(list(keys))]
    counts = chosen["identity"].value_counts()
    names = sorted(counts.index[counts >= min_images], key=lambda name: derive_seed(seed, "identity", name))
    kept = names[: int(np.ceil(identity_fraction * len(names) - 1e-9))]
    chosen = chosen[chosen["identity"].isin(kept)]
    if not len(chosen):
        raise LafsError(
            f"No image is left for the subset: {len(counts)} labeled identities were there, "
            f"{len(names)} of them with at least {min_images} images."
        )
    if shots is None:
        return chosen
    rank = np.array([derive_seed(seed, "image", key) for key in chosen["key"]], np.int64)
    order = np.lexsort([rank, pd.factorize(chosen["identity"])[0]])
    place = chosen["identity"].iloc[order].groupby(chosen["identity"].iloc[order], observed=True).cumcount()
    return chosen.iloc[np.sort(order[(place < shots).to_numpy()])]


def evenly_spaced(length: int, count: int) -> np.ndarray:
    """`count` of `length` rows at equal distances, first and last among them; all if there are no more.

    Returns:
        (min(count, length),) positions.
    """
    return np.linspace(0, length - 1, min(count, length)).astype(int)


def read_keys(path: Path | str) -> list[str]:
    """Read a list of keys: the column `key` of a Parquet file, or a text file with one key a line.

    Raises:
        LafsError: The file is missing, holds no keys, or is not of that form.
    """
    path = Path(path)
    expected = "expected a Parquet file with a column `key`, or a text file with one key a line"
    if not path.is_file():
        raise LafsError(f"List of keys {path} does not exist; {expected}.")
    try:
        if path.suffix == ".parquet":
            keys = pd.read_parquet(path, columns=["key"])["key"].astype(str).tolist()
        else:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
            keys = [line for line in (line.rstrip("\r") for line in lines) if line]
    except (ValueError, OSError) as error:
        raise LafsError(f"List of keys {path} cannot be read, {expected}: {error}") from error
    if not keys:
        raise LafsError(f"List of keys {path} is empty; {expected}.")
    return keys


def identity_labels(manifest: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Contiguous class numbers, in the order of the sorted identity names.

    Returns:
        labels: (n,) int64, one per row.
        names: Identity of each class.

    Raises:
        LafsError: A row has no identity.
    """
    unlabeled = manifest["identity"].isna()
    if unlabeled.any():
        raise LafsError(
            f"{unlabeled.sum()} of {len(manifest)} images have no identity, first "
            f"{manifest['key'][unlabeled].iloc[0]}; training on labels needs one for each."
        )
    labels, names = pd.factorize(manifest["identity"], sort=True)
    return labels, names.astype(str).tolist()
