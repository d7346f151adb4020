"""Where face images come from: folders, RecordIO files, synthetic faces - all behind one interface."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
import pandas as pd

from lafs_pipeline.faces.decode import ChannelOrder
from lafs_pipeline.faces.pair_sets import PairSet
from lafs_pipeline.faces.recordio import RecordIOReader
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.runtime.settings import setting, settings

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"})
POINT_COLUMNS = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]


@settings
class SourceSettings:
    """One set of face images."""

    kind: Literal["synthetic", "folder", "recordio"] = setting("Where the images come from", "folder")
    path: str | None = setting("Folder of images, or the .rec file", None)
    aligned: bool = setting("Whether the faces are cropped to the ArcFace template already", False)
    points: str | None = setting("CSV with columns file,x1,y1..x5,y5: the five points of each image", None)
    detector: str | None = setting("YuNet ONNX file that finds the five points where none are given", None)
    min_score: float = setting("Faces that the detector scores lower are not taken", 0.6, ge=0.0, le=1.0)
    channel_order: ChannelOrder = setting(
        "What the encoded images decode to: rgb, or bgr for sets packed so", "rgb"
    )
    labelled: bool = setting("Whether the identities are to be used", True)
    identities: int = setting("Number of synthetic identities", 40, ge=1)
    images_per_identity: int = setting("Number of synthetic images an identity", 10, ge=1)


@dataclass(frozen=True)
class EncodedFace:
    """One image as a source holds it.

    Attributes:
        encoded: The bytes of an image file.
        points: (5, 2) float32 x, y in pixels where the source knows them.
    """

    encoded: bytes
    points: np.ndarray | None = None


class Source(Protocol):
    """Random access to a set of images. Cheap to open, and can be pickled to worker processes."""

    names_are_people: bool
    """Whether equal identity names in two such sources mean one person (folder names do, numbers do not)."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def key(self, index: int) -> str:
        """Name of an image, unique within the source."""
        ...

    def identity(self, index: int) -> str | None:
        """Name of the person, unique within the source; None where it is not known."""
        ...

    def read(self, index: int) -> EncodedFace:
        """The image itself. Raises LafsError with the reason where it cannot be read."""
        ...


class FolderSource:
    """Image files below a folder: each sub-folder is one identity, images directly in the folder have none.

    Files are sorted by name. A folder that several links lead to is read once.

    Args:
        path: The folder.
        labelled: False takes no identities from sub-folders.
        points: CSV with columns file,x1,y1..x5,y5; `file` is relative to `path` or to the CSV's folder.

    Raises:
        LafsError: The folder is missing or holds no image, or the CSV has other columns.
    """

    names_are_people = True

    def __init__(self, path: Path | str, labelled: bool = True, points: Path | str | None = None) -> None:
        self.path = Path(path)
        self.labelled = labelled
        if not self.path.is_dir():
            raise LafsError(f"Image folder {self.path} does not exist.")
        self._files = sorted(_image_files(str(self.path)))
        if not self._files:
            raise LafsError(f"Folder {self.path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
        self._points = _read_points(Path(points), self.path) if points else {}

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        """Path below the folder; bytes that are not UTF-8 are written as backslash escapes."""
        return _printable(self._files[index])

    def identity(self, index: int) -> str | None:
        """Sub-folder of the image."""
        folder = _printable(os.path.dirname(self._files[index]))  # noqa: PTH120
        return folder if self.labelled and folder else None

    def read(self, index: int) -> EncodedFace:
        """The file's bytes, and its points where a CSV gives them."""
        try:
            encoded = (self.path / self._files[index]).read_bytes()
        except OSError as error:
            raise LafsError(f"it cannot be read ({error.strerror})") from error
        return EncodedFace(encoded, self._points.get(self.key(index)))


class RecordIOSource:
    """The images of a RecordIO file; identities are the numbers in the records' headers.

    Raises:
        LafsError: As :class:`RecordIOReader`, or the file holds no images.
    """

    names_are_people = False

    def __init__(self, path: Path | str, labelled: bool = True) -> None:
        self.labelled = labelled
        self.reader = RecordIOReader(path)
        self.records = self.reader.image_keys()
        if not len(self.records):
            raise LafsError(f"RecordIO file {path} holds no images (its index is empty).")

    def __len__(self) -> int:
        return len(self.records)

    def key(self, index: int) -> str:
        """The record's key."""
        return str(self.records[index])

    def identity(self, index: int) -> str | None:
        """First label of the record."""
        if not self.labelled:
            return None
        label = self.reader.read_labels(self.records[index])[0]
        if not float(label).is_integer():
            raise LafsError(f"its label {label} is not a whole number")
        return str(int(label))

    def read(self, index: int) -> EncodedFace:
        """The record's image."""
        return EncodedFace(self.reader.read_image(self.records[index]).encoded)


class PairSetSource:
    """The images of an InsightFace `.bin`: numbered, without identities."""

    names_are_people = False

    def __init__(self, pair_set: PairSet) -> None:
        self.pair_set = pair_set

    def __len__(self) -> int:
        return len(self.pair_set.images)

    def key(self, index: int) -> str:
        """Number of the image; 2i and 2i + 1 are pair i."""
        return f"{index:06d}"

    def identity(self, index: int) -> None:
        """Not known."""
        return

    def read(self, index: int) -> EncodedFace:
        """The image."""
        return EncodedFace(self.pair_set.images[index])


class SyntheticSource:
    """Drawn faces of drawn people, aligned already, as PNG; for trials and tests without any data set."""

    names_are_people = False

    def __init__(self, seed: int, identities: int, images_per_identity: int) -> None:
        self.seed = seed
        self.identities = identities
        self.images_per_identity = images_per_identity

    def __len__(self) -> int:
        return self.identities * self.images_per_identity

    def key(self, index: int) -> str:
        """Identity and number of the image."""
        return f"{self.identity(index)}/{index % self.images_per_identity:05d}.png"

    def identity(self, index: int) -> str:
        """Number of the identity."""
        return f"{index // self.images_per_identity:06d}"

    def read(self, index: int) -> EncodedFace:
        """Draw one face; the same for the same seed and index."""
        from lafs_pipeline.faces.synthetic import draw_face

        face = draw_face(self.seed, *divmod(index, self.images_per_identity))
        encoded = cv2.imencode(".png", cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR))[1].tobytes()
        return EncodedFace(encoded, face.points)


def open_source(name: str, settings: SourceSettings, seed: int) -> Source:
    """Open the source that `settings` describe; `seed` and `name` decide what a synthetic one draws.

    Raises:
        LafsError: A path is missing, does not exist or holds no images; names the source.
    """
    try:
        if settings.kind == "synthetic":
            return SyntheticSource(derive_seed(seed, name), settings.identities, settings.images_per_identity)
        if not settings.path:
            raise LafsError(f"`path` is not set; a {settings.kind} source needs one.")
        if settings.kind == "recordio":
            return RecordIOSource(settings.path, settings.labelled)
        return FolderSource(settings.path, settings.labelled, settings.points)
    except LafsError as error:
        raise LafsError(f"Source '{name}': {error}") from error


def _image_files(folder: str) -> Iterator[str]:
    visited = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(current)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.sort()
        below = os.path.relpath(current, folder)
        for file in files:
            if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES and not file.startswith("."):  # noqa: PTH122
                yield file if below == "." else f"{below}/{file}"


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read_points(path: Path, folder: Path) -> dict[str, np.ndarray]:
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(POINT_COLUMNS, np.float32) | {"file": str})
    except FileNotFoundError:
        raise LafsError(f"points file {path} does not exist.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise LafsError(f"points file {path} is not a CSV of file,x1,y1..x5,y5: {error}") from error
    missing = [column for column in ["file", *POINT_COLUMNS] if column not in table]
    if missing:
        raise LafsError(f"points file {path} has no column {', '.join(missing)}; expected file,x1,y1..x5,y5.")
    files = table["file"]
    below = os.path.relpath(folder, path.parent)
    files = files.str.removeprefix(f"{below}/") if below != "." else files
    return dict(zip(files, table[POINT_COLUMNS].to_numpy().reshape(-1, 5, 2), strict=True))
