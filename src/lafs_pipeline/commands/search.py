"""Who of a gallery is this: the nearest faces of every probe, and whether they are near enough."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lafs_pipeline.commands.embed import loose_settings
from lafs_pipeline.commands.models import open_model
from lafs_pipeline.evaluation.loose_faces import LooseFaces, embed_loose_faces
from lafs_pipeline.evaluation.search import FaceIndex
from lafs_pipeline.models.embedding_file import EmbeddingFile
from lafs_pipeline.reporting.search import Answer, Search, render_answers
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.source import EncodedFace, Source, read_image_file

NOBODY = "nobody of the gallery"


@dataclass(frozen=True)
class SearchOptions:
    """How faces are searched.

    Attributes:
        model: file of the model; needed where images are embedded.
        detector: YuNet file for photographs.
        count: answers of every probe.
        rate: false accept rate, by the gallery's own strangers, from which the threshold follows.
        threshold: cosine similarity in its place.
        out: page of faces and answers; None writes none.
    """

    model: Path | None
    detector: Path | None
    count: int
    rate: float
    threshold: float | None
    out: Path | None


@dataclass(frozen=True, eq=False)
class _Faces:
    """Keys and vectors, and the images where there are any."""

    keys: list[str]
    vectors: np.ndarray
    images: LooseFaces | None = None
    places: dict[str, int] = field(default_factory=dict)

    def image(self, row: int) -> np.ndarray | None:
        return None if self.images is None else self.images[self.places[self.keys[row]]][1]


class _OneImage:
    """A single file as a source."""

    names_are_people = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 1

    def key(self, index: int) -> str:
        return self.path.name

    def identity(self, index: int) -> None:
        return

    def read(self, index: int) -> EncodedFace:
        return EncodedFace(read_image_file(self.path))


def search_faces(gallery_path: Path, probe_path: Path, options: SearchOptions) -> int:
    """Print the nearest faces of every probe; those above the threshold are marked.

    Args:
        gallery_path: folder of images, whose sub-folders are people, or a Parquet file of `lafs embed`.
        probe_path: an image, a folder, or such a file.
        options: see there.

    Returns:
        The exit status.

    Raises:
        LafsError: nothing can be embedded, the gallery is too small for the rate, or the page cannot be
            written.
    """
    gallery, probes = (_faces(path, options) for path in (gallery_path, probe_path))
    index = FaceIndex(gallery.vectors)
    people = [key.rpartition("/")[0] or key for key in gallery.keys]
    threshold, how = options.threshold, "as given"
    if threshold is None:
        threshold = index.threshold(people, options.rate)
        how = f"accepts {options.rate:g} of the gallery's pairs of different people"
    rows, similarities = index.search(probes.vectors, options.count)
    searches = []
    for number, key in enumerate(probes.keys):
        answers = [
            Answer(
                gallery.keys[row],
                people[row],
                float(similarity),
                bool(similarity > threshold),
                gallery.image(row) if options.out else None,
            )
            for row, similarity in zip(rows[number], similarities[number], strict=True)
        ]
        best = answers[0]
        who = best.person if best.is_accepted else NOBODY
        print(f"{key}: {who} ({best.similarity:.4f}, {best.key})")
        searches.append(Search(key, who, probes.image(number) if options.out else None, answers))
    print(f"{len(gallery.keys)} faces searched; threshold {threshold:.4f}: {how}")
    if options.out is not None:
        try:
            with whole_file(options.out) as temporary:
                temporary.write_text(render_answers(searches, threshold, how), encoding="utf-8")
        except OSError as error:
            raise LafsError(f"the page cannot be written to {options.out} ({error.strerror})") from error
        print(f"faces and answers: {options.out}")
    return 0


def _faces(path: Path, options: SearchOptions) -> _Faces:
    if path.suffix == ".parquet":
        file = EmbeddingFile(path)
        return _Faces([str(key) for key in file.rows.index], file.vectors)
    if options.model is None:
        raise LafsError(
            f"{path} holds images, which a model embeds: give --model, or a .parquet of `lafs embed`"
        )
    source: Source = _OneImage(path) if path.is_file() else FolderSource(path, labeled=False)
    images = LooseFaces(source, loose_settings(options.detector))
    model = open_model(options.model)
    keys, vectors, reason = [], [], ""
    for batch in embed_loose_faces(model.embed, images, model.device):
        for key, reason in batch.unusable.items():
            tqdm.write(f"left out: {key}: {reason}", file=sys.stderr)
        if batch.keys:
            keys += batch.keys
            vectors.append(batch.vectors)
    if not keys:
        hint = "; photographs need --detector" if options.detector is None else ""
        raise LafsError(f"no image of {path} can be used: {reason}{hint}")
    places = {source.key(place): place for place in range(len(source))}
    return _Faces(keys, np.concatenate(vectors), images, places)
