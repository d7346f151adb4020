"""TinyFace (Cheng, Zhu and Gong 2018, arXiv 1811.08965): images of low resolution searched among distractors.

    <images>/Gallery_Match/<image>, <images>/Gallery_Distractor/<image>, <images>/Probe/<image>
    <protocol>/gallery_match_img_ID_pairs.mat    gallery_set (names), gallery_ids
    <protocol>/probe_img_ID_pairs.mat            probe_set (names), probe_ids

Both folders are `Testing_Set` as published. Aligned copies of the images may lie elsewhere and end otherwise.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat

from lafs_pipeline.protocols.ijb import PROBE, TemplateTables
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import refuse_lfs_pointer
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.source import EncodedFace

MATCH, DISTRACTOR, SEARCHED = "Gallery_Match", "Gallery_Distractor", "Probe"
GALLERY = "gallery"
NOBODY = -1
"""The subject of a distractor."""


class TinyFaceImages:
    """The images below a folder, whose people the protocol tells."""

    names_are_people = False

    def __init__(self, path: Path | str, points: str | None, subjects: dict[str, int]) -> None:
        self.folder = FolderSource(path, labeled=False, points=points)
        self.subjects = [
            subjects.get(_without_ending(self.folder.key(place))) for place in range(len(self.folder))
        ]

    def __len__(self) -> int:
        return len(self.folder)

    def key(self, index: int) -> str:
        """Path below the folder."""
        return self.folder.key(index)

    def identity(self, index: int) -> str | None:
        """Number of the person; None of a distractor."""
        subject = self.subjects[index]
        return None if subject is None else str(subject)

    def read(self, index: int) -> EncodedFace:
        """The image."""
        return self.folder.read(index)


@dataclass(frozen=True, eq=False)
class TinyFaceTree:
    """Every image is a template of its own; nothing is compared 1:1.

    Attributes:
        images: of all three folders.
        missing: none, as folders are listed.
    """

    images: TinyFaceImages
    missing: tuple[int, ...] = ()

    def settle(self, usable: np.ndarray) -> TemplateTables:
        """What is left once it is known which images can be used.

        Args:
            usable: (images,) bool.

        Raises:
            LafsError: no probe or nobody of the gallery is left.
        """
        kept = np.flatnonzero(usable)
        folders = [self.images.key(int(place)).partition("/")[0] for place in kept]
        known = [self.images.subjects[place] for place in kept]
        roles = {MATCH: GALLERY, DISTRACTOR: GALLERY, SEARCHED: PROBE}
        table = pd.DataFrame(
            {
                "template": kept,
                "subject": [NOBODY if subject is None else subject for subject in known],
                "role": [roles.get(folder) for folder in folders],
            }
        ).dropna(subset=["role"])
        # A match or probe that the protocol does not name is nobody's.
        strays = (table["subject"] == NOBODY) & (np.array(folders)[table.index] != DISTRACTOR)
        table = table[~strays]
        counts = table[table["subject"] != NOBODY]["role"].value_counts()
        if set(counts.index) != {GALLERY, PROBE}:
            raise LafsError(f"{self.images.folder.path} has no usable image left of a gallery or of probes")
        places = table["template"].to_numpy()
        templates = pd.DataFrame({"image": places, "template": places, "media": places, "score": 1.0})
        pairs = pd.DataFrame({"template_a": [], "template_b": [], "is_same": []})
        excluded = {"images": int((~usable).sum()) + int(strays.sum())}
        return TemplateTables(templates, pairs, table.reset_index(drop=True), excluded)


def open_tinyface(path: Path | str, protocol: Path | str, points: str | None) -> TinyFaceTree:
    """Read who is who, and look for the images.

    Args:
        path: folder of the three folders of images.
        protocol: folder of the two lists.
        points: CSV of five points per image, as of a source.

    Raises:
        LafsError: a file or folder is missing or of another form, or listed images are not there.
    """
    subjects: dict[str, int] = {}
    for folder, stem in ((MATCH, "gallery_match"), (SEARCHED, "probe")):
        file, short = Path(protocol) / f"{stem}_img_ID_pairs.mat", stem.partition("_")[0]
        subjects |= {f"{folder}/{name}": who for name, who in _read_list(file, short).items()}
    absent = [name for name in (MATCH, DISTRACTOR, SEARCHED) if not (Path(path) / name).is_dir()]
    if absent:
        raise LafsError(f"{path} has no folder {', '.join(absent)}; expected TinyFace's Testing_Set")
    images = TinyFaceImages(path, points, subjects)
    there = {_without_ending(images.key(place)) for place in range(len(images))}
    if lost := [name for name in subjects if name not in there]:
        raise LafsError(f"{len(lost)} listed images are not in {path}, first {lost[0]}. Is the copy whole?")
    return TinyFaceTree(images)


def _read_list(path: Path, stem: str) -> dict[str, int]:
    """Person by name of the image without ending."""
    if not path.is_file():
        raise LafsError(f"{path} does not exist; expected TinyFace's list of images and people")
    refuse_lfs_pointer(path)
    try:
        content = loadmat(path, variable_names=[f"{stem}_set", f"{stem}_ids"])
        names = [str(np.squeeze(name)) for name in content[f"{stem}_set"].ravel()]
        people = content[f"{stem}_ids"].ravel().astype(int).tolist()
    except (KeyError, ValueError, TypeError, NotImplementedError, OSError, EOFError) as error:
        raise LafsError(f"{path} is not TinyFace's list ({stem}_set, {stem}_ids): {error}") from error
    if len(names) != len(people) or not names:
        raise LafsError(f"{path} lists {len(names)} images and {len(people)} people; expected as many")
    return {_without_ending(name): who for name, who in zip(names, people, strict=True)}


def _without_ending(name: str) -> str:
    return name.rpartition(".")[0] or name
