"""Where face images come from: one block of settings chooses, and one function opens it."""

from pathlib import Path
from typing import Literal

from lafs_pipeline.faces.alignment import FaceChoice
from lafs_pipeline.faces.decode import ChannelOrder
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import local_path
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.list import ListSource
from lafs_pipeline.sources.recordio.source import RecordIOSource
from lafs_pipeline.sources.source import Source


@settings
class SourceSettings:
    """One set of face images."""

    kind: Literal["synthetic", "folder", "list", "recordio", "tar", "parquet"] = setting(
        "Where the images come from", "folder"
    )
    path: str | list[str] | None = setting(
        "Folder of images; list of images and identities; .rec, .tar or .parquet file, or several of them as "
        "a list, a pattern or their folder",
        None,
    )
    aligned: bool = setting("Whether the faces are cropped to the ArcFace template already", False)
    points: str | None = setting(
        "Five points of each image: CSV with columns file,x1,y1..x5,y5, or lines 'file x1 y1 .. x5 y5 score'",
        None,
    )
    detector: str | None = setting("YuNet ONNX file that finds the five points where none are given", None)
    min_score: float = setting("Faces that the detector scores lower are not taken", 0.6, ge=0.0, le=1.0)
    choose_face: FaceChoice = setting("Which face is taken where the detector finds several", "largest")
    channel_order: ChannelOrder = setting(
        "What the encoded images decode to: rgb, or bgr for sets packed so", "rgb"
    )
    labeled: bool = setting("Whether the identities are to be used", True)
    root: str | None = setting("list: where relative paths start, if not in the list's own folder", None)
    image_column: str = setting("parquet: column of the images", "image")
    identity_column: str = setting(
        "parquet, list, tar: column, or field of the .json, of the identities", "identity"
    )
    key_column: str | None = setting("parquet: column of unique names; null numbers the rows", None)
    optional: bool = setting("Leave the source out where `path` is null", False)
    identities: int = setting("Number of synthetic identities", 40, ge=1)
    images_per_identity: int = setting("Number of synthetic images per identity", 10, ge=1)
    variation: float = setting(
        "How much synthetic photographs of one person differ in pose, light, hair and what covers the face, "
        "from 0 to 1, which is hard",
        1.0,
        ge=0,
        le=1,
    )

    def __post_init__(self):
        keep_local(self, "path", "root", "points", "detector")

    def is_given(self) -> bool:
        """Whether it is there to be opened."""
        return not self.optional or self.path is not None


def keep_local(settings: object, *names: str) -> None:
    """Expand `~` in fields that are paths.

    Raises:
        LafsError: one is an address on another file system.
    """
    for name in names:
        given = getattr(settings, name)
        if isinstance(given, str):
            object.__setattr__(settings, name, local_path(given, f"`{name}`"))
        elif given is not None:
            object.__setattr__(settings, name, [local_path(path, f"`{name}`") for path in given])


def open_source(
    name: str, settings: SourceSettings, seed: int, index_folder: Path | str | None = None
) -> Source:
    """Open the source that `settings` describe; `seed` and `name` decide what a synthetic one draws.

    Raises:
        LafsError: A path is missing, does not exist or holds no images; names the source.
    """
    try:
        return _opened(name, settings, seed, index_folder)
    except LafsError as error:
        raise LafsError(f"Source '{name}': {error}") from error


def _opened(name: str, settings: SourceSettings, seed: int, index_folder: Path | str | None) -> Source:
    if settings.kind == "synthetic":
        from lafs_pipeline.sources.synthetic.faces import SyntheticSource

        return SyntheticSource(
            derive_seed(seed, name),
            settings.identities,
            settings.images_per_identity,
            settings.variation,
        )
    if not settings.path:
        raise LafsError(f"`path` is not set; a {settings.kind} source needs one.")
    if settings.kind == "recordio":
        return RecordIOSource(settings.path, settings.labeled, index_folder)
    if settings.kind == "tar":
        from lafs_pipeline.sources.tar import TarSource

        return TarSource(settings.path, settings.labeled, settings.points, settings.identity_column)
    if settings.kind == "parquet":
        from lafs_pipeline.sources.parquet import ParquetSource

        return ParquetSource(
            settings.path,
            settings.labeled,
            settings.points,
            settings.image_column,
            settings.identity_column,
            settings.key_column,
        )
    if not isinstance(settings.path, str):
        raise LafsError(f"`path` is a list; a {settings.kind} source takes one path.")
    if settings.kind == "list":
        return ListSource(
            settings.path, settings.root, settings.labeled, settings.points, settings.identity_column
        )
    return FolderSource(settings.path, settings.labeled, settings.points)
