"""IJB-B and IJB-C in their standard tree: images, templates, media, pairs, galleries and probes.

    loose_crop/<image>
    meta/<ijbx>_face_tid_mid.txt               image template media
    meta/<ijbx>_name_5pts_score.txt            image x1 y1 .. x5 y5 score
    meta/<ijbx>_template_pair_label.txt        template template label
    meta/<ijbx>_1N_gallery_<G1|G2|S1|S2>.csv   TEMPLATE_ID,SUBJECT_ID,..
    meta/<ijbx>_1N_probe_mixed.csv             TEMPLATE_ID,SUBJECT_ID,..

The CSVs may be left out; then nobody is searched, and intervals draw templates instead of subjects.
"""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.faces.manifest import POINT_COLUMNS
from lafs_pipeline.protocols.ijb_files import MetaFiles, OnMissing
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.source import EncodedFace, read_image_file

logger = logging.getLogger(__name__)

_IMAGES = "loose_crop"
_MEDIA_SUFFIX = "_face_tid_mid.txt"
_GALLERY, _PROBE = "_1N_gallery_", "_1N_probe_mixed.csv"
PROBE = "probe"
_PUBLISHED = {"ijbb": (227_630, 12_115, 8_010_270), "ijbc": (469_375, 23_124, 15_658_489)}
"""Images, templates and pairs."""


@dataclass(frozen=True, eq=False)
class TemplateTables:
    """A template benchmark, ready to be evaluated.

    Attributes:
        templates: image (position in the source), template, media, score.
        pairs: template_a, template_b, is_same.
        subjects: template, subject, role (`probe`, or the name of a gallery).
        excluded: how many lines, images, templates and pairs were left out, and duplicate_pairs of the pairs.
    """

    templates: pd.DataFrame
    pairs: pd.DataFrame
    subjects: pd.DataFrame
    excluded: dict[str, int]


class IjbImages:
    """The images of a tree, a :class:`lafs_pipeline.sources.source.Source`."""

    names_are_people = False

    def __init__(
        self, folder: Path, names: list[str], points: np.ndarray, subjects: list[str | None]
    ) -> None:
        self.folder = folder
        self._names, self._points, self._subjects = names, points, subjects

    def __len__(self) -> int:
        return len(self._names)

    def key(self, index: int) -> str:
        """Name of the file."""
        return self._names[index]

    def identity(self, index: int) -> str | None:
        """Number of the subject, where galleries and probes tell it."""
        return self._subjects[index]

    def read(self, index: int) -> EncodedFace:
        """The image and its points."""
        return EncodedFace(read_image_file(self.folder / self._names[index]), self._points[index])


@dataclass(eq=False)
class IjbTree:
    """A tree as its files describe it.

    Attributes:
        images: those that a template names and that have points.
        points_file: where the points came from.
        missing: positions of images without a file.
    """

    images: IjbImages
    points_file: Path
    missing: list[int]
    _media: pd.DataFrame
    _pairs: pd.DataFrame
    _subjects: pd.DataFrame
    _on_missing: OnMissing
    _excluded: dict[str, int] = field(default_factory=dict)

    def settle(self, usable: np.ndarray) -> TemplateTables:
        """What is left once it is known which images can be used.

        Templates without any image are left out, and what names them; pairs listed twice count once.

        Args:
            usable: (images,) bool.

        Raises:
            LafsError: something would be left out and must not be, or nothing is left.
        """
        folder, excluded = self.images.folder.parent, dict(self._excluded)
        lost = int((~usable).sum())
        if lost:
            first = self.images.key(int((~usable).argmax()))
            self._refuse(f"{lost} images of {folder} cannot be used, first {first}")
        excluded["images"] = excluded.get("images", 0) + lost
        media = self._media[usable[self._media["image"]]]
        there = np.unique(media["template"])
        named = [self._pairs["template_a"], self._pairs["template_b"], self._subjects["template"]]
        absent = np.setdiff1d(np.concatenate([pd.unique(names) for names in named]), there)
        if len(absent):
            self._refuse(f"{len(absent)} templates of {folder} have no image, first {absent[0]}")
        excluded["templates"] = len(absent)
        pairs = self._pairs
        if len(absent):
            pairs = pairs[~(pairs["template_a"].isin(absent) | pairs["template_b"].isin(absent))]
        again = _listed_before(pairs)
        if again.any():
            row = pairs[again].iloc[0]
            self._refuse(
                f"{again.sum()} pairs of {folder} are listed more than once, first {row['template_a']} with "
                f"{row['template_b']}"
            )
            pairs = pairs[~again]
        excluded["duplicate_pairs"] = int(again.sum())
        excluded["pairs"] = len(self._pairs) - len(pairs)
        if not len(pairs):
            raise LafsError(f"No pair of {folder} is left; its images and meta files do not belong together.")
        subjects = self._subjects[~self._subjects["template"].isin(absent)]
        if any(excluded.values()):
            counts = ", ".join(f"{count} {name}" for name, count in excluded.items() if count)
            logger.warning("%s: left out %s", folder, counts)
        return TemplateTables(media, pairs, subjects.reset_index(drop=True), excluded)

    def _refuse(self, what: str) -> None:
        _refuse(what, self._on_missing)


def open_ijb(path: Path | str, on_missing: OnMissing) -> IjbTree:
    """Read the meta files of a tree and look for its images.

    Args:
        path: the folder that holds `loose_crop` and `meta`.
        on_missing: `error` refuses damaged lines, images without file or points, templates without images
            and pairs that are listed twice; `exclude` leaves them out and counts them. Contradictions (a pair
            of one person and of two, a template of two subjects) are refused always.

    Raises:
        LafsError: a file is missing, or as `on_missing` says.
    """
    root = Path(path)
    found = sorted((root / "meta").glob(f"[!.]*{_MEDIA_SUFFIX}"))
    if len(found) != 1 or not (root / _IMAGES).is_dir():
        raise LafsError(
            f"{root} is not a tree of IJB-B or IJB-C: expected images in {_IMAGES}/ and one "
            f"meta/<ijbb or ijbc>{_MEDIA_SUFFIX}, found {len(found)} of those."
        )
    stem = str(found[0]).removesuffix(_MEDIA_SUFFIX)
    files = MetaFiles(on_missing)
    points_file = Path(f"{stem}_name_5pts_score.txt")
    media = files.media(found[0])
    points = files.points(points_file).set_index("name")
    pairs = files.pairs(Path(f"{stem}_template_pair_label.txt"))
    subjects = _subjects(files, stem)
    _compare_with_published(stem, media, pairs)
    pointless = ~media["name"].isin(points.index)
    excluded = {"lines": files.damaged_lines}
    if pointless.any():
        names = media.loc[pointless, "name"]
        _refuse(f"{names.nunique()} images have no line in {points_file}, first {names.iloc[0]}", on_missing)
        excluded["images"] = names.nunique()
        media = media[~pointless]
    image, names = pd.factorize(media["name"])
    points = points.loc[names]
    of_template = subjects.drop_duplicates("template").set_index("template")["subject"]
    owner = media.assign(image=image).drop_duplicates("image")["template"].map(of_template)
    images = IjbImages(
        root / _IMAGES,
        list(names),
        points[POINT_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2),
        [None if pd.isna(subject) else str(int(subject)) for subject in owner],
    )
    media = pd.DataFrame(
        {
            "image": image,
            "template": media["template"].to_numpy(),
            "media": media["media"].to_numpy(),
            "score": points["score"].to_numpy()[image],
        }
    )
    there = {entry.name for entry in os.scandir(root / _IMAGES)}
    missing = [index for index, name in enumerate(names) if name not in there]
    pairs = pairs.assign(is_same=pairs.pop("label") == 1)
    tree = IjbTree(images, points_file, missing, media, pairs, subjects, on_missing, excluded)
    if on_missing == "error":
        usable = np.ones(len(names), bool)
        usable[missing] = False
        tree.settle(usable)
    return tree


def _compare_with_published(stem: str, media: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """A copy that broke off between two lines shows in its counts alone."""
    counts = media["name"].nunique(), media["template"].nunique(), len(pairs)
    published = _PUBLISHED.get(Path(stem).name, counts)
    if counts != published:
        have, want = (
            "{:,} images, {:,} templates and {:,} pairs".format(*numbers) for numbers in (counts, published)
        )
        logger.warning("%s_* list %s; as published they list %s", stem, have, want)


def _subjects(files: MetaFiles, stem: str) -> pd.DataFrame:
    folder, prefix = Path(stem).parent, Path(stem).name
    parts = [
        files.subjects(path).assign(role=path.stem.removeprefix(f"{prefix}{_GALLERY}"))
        for path in sorted(folder.glob(f"{prefix}{_GALLERY}*.csv"))
    ]
    probes = Path(f"{stem}{_PROBE}")
    if probes.is_file():
        parts.append(files.subjects(probes).assign(role=PROBE))
    if not parts:
        logger.info("%s holds no galleries and probes: nobody is searched", folder)
        return pd.DataFrame({"template": [], "subject": [], "role": []}).astype(
            {"template": np.int32, "subject": np.int32, "role": "str"}
        )
    subjects = pd.concat(parts, ignore_index=True)
    people = subjects.groupby("template")["subject"].nunique()
    if (people > 1).any():
        raise LafsError(f"{folder}: template {people.idxmax()} has more than one subject in the CSVs.")
    return subjects


def _listed_before(pairs: pd.DataFrame) -> np.ndarray:
    """(P,) bool, whether a pair stands further up, in either order.

    Raises:
        LafsError: it stands there with another label.
    """
    low, high = (
        choose(pairs["template_a"].to_numpy(), pairs["template_b"].to_numpy()).astype(np.int64)
        for choose in (np.minimum, np.maximum)
    )
    code = pd.Series((low << 32) | high)
    again = code.duplicated().to_numpy()
    if again.any():
        labels = pairs["is_same"].to_numpy()
        doubled = code.isin(code[again]).to_numpy()
        kinds = pd.Series(labels[doubled]).groupby(code[doubled].to_numpy()).nunique()
        if (kinds > 1).any():
            first = int(kinds.idxmax())
            raise LafsError(
                f"Templates {first >> 32} and {first & 0xFFFFFFFF} are listed as one person and as two."
            )
    return again


def _refuse(what: str, on_missing: OnMissing) -> None:
    if on_missing == "error":
        raise LafsError(
            f"{what}. Is the copy whole? Complete it, or set `on_missing: exclude` to leave those out and "
            "count them."
        )
