"""Files for other programs: InsightFace's pair sets and its RecordIO layout."""

import pickle
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.subsets import identity_labels
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.sources.recordio import RecordIOWriter

_PROTOCOL = 4


def write_pair_set(path: Path | str, images: Sequence[bytes], is_same: Sequence[bool] | np.ndarray) -> None:
    """Write verification pairs as InsightFace's `.bin`, or as RecordIO where `path` ends with `.rec`.

    A `.bin` is a pickle of (list of bytes, list of bool) as InsightFace's `verification.load_bin` opens it.
    In the `.rec`, records 2i and 2i + 1 are pair i and their label is 1 for one person, 0 for two.

    Args:
        path: The file; it appears atomically.
        images: 2n encoded images; images 2i and 2i + 1 are pair i.
        is_same: n truths.

    Raises:
        LafsError: The counts do not match, or the file cannot be written.
    """
    if not len(is_same) or len(images) != 2 * len(is_same):
        raise LafsError(f"{path}: {len(images)} images for {len(is_same)} pairs; expected two per pair.")
    if Path(path).suffix == ".rec":
        with RecordIOWriter(path) as writer:
            for number, image in enumerate(images):
                writer.write_image(number, bytes(image), float(bool(is_same[number // 2])), number)
        return
    content = [bytes(image) for image in images], [bool(same) for same in is_same]
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(pickle.dumps(content, _PROTOCOL))
    except OSError as error:
        raise LafsError(f"{path} cannot be written ({error.strerror}); nothing was left there.") from error


def export_benchmark(manifest: pd.DataFrame, pairs: pd.DataFrame, benchmark: str, path: Path | str) -> None:
    """Write a cataloged benchmark by :func:`write_pair_set`, its pairs in file order.

    Raises:
        LafsError: No such benchmark, or as :func:`write_pair_set`.
    """
    members = pairs[pairs["benchmark"] == benchmark]
    if not len(members):
        known = ", ".join(map(str, pairs["benchmark"].unique()))
        raise LafsError(f"{path}: there is no benchmark '{benchmark}' to write; the benchmarks are {known}.")
    row = pd.Series(range(len(manifest)), index=manifest["key"])
    faces = FaceImages(manifest)
    keys = members[["key_a", "key_b"]].to_numpy().ravel()
    write_pair_set(path, [faces.encoded(int(row[key])) for key in keys], members["is_same"].to_numpy(bool))


def export_recordio(manifest: pd.DataFrame, path: Path | str) -> list[str]:
    """Write the faces of a manifest as InsightFace packs them: `path`, its `.idx`, and `property` beside it.

    Record 0 names the identity records; images follow from key 1 on, grouped by identity and with the
    identity's number as label; then one record an identity names its images. Image files are copied as they
    are. Labels are float32, which holds up to 2^24 records.

    Args:
        manifest: Rows with identity; all of one channel order, which the format does not record.
        path: The `.rec` file, `train.rec` by custom.

    Returns:
        Names of the identities, by label.

    Raises:
        LafsError: Rows have no identity or mixed channel orders, an image cannot be read, or a file cannot be
            written. Nothing is left then.
    """
    orders = sorted(manifest["channel_order"].unique())
    if len(orders) != 1:
        raise LafsError(
            f"{path}: the images are stored as {' and '.join(orders) or 'nothing'}; RecordIO does not record "
            "the channel order, so pack images of one order."
        )
    labels, names = identity_labels(manifest)
    order = np.argsort(labels, kind="stable")
    faces = FaceImages(manifest)
    first_identity = 1 + len(order)
    starts = 1 + np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=len(names)))])
    with RecordIOWriter(path) as writer:
        writer.write_image(0, b"", [float(first_identity), float(first_identity + len(names))])
        for key, row in enumerate(order.tolist(), 1):
            writer.write_image(key, faces.encoded(row), float(labels[row]), key)
        for label, (start, end) in enumerate(pairwise(starts.tolist())):
            key = first_identity + label
            writer.write_image(key, b"", [float(start), float(end)], key)
    try:
        with whole_file(Path(path).with_name("property")) as temporary:
            temporary.write_text(f"{len(names)},{FACE_SIZE},{FACE_SIZE}\n")
    except OSError as error:
        raise LafsError(f"'property' beside {path} cannot be written ({error.strerror}).") from error
    return names
