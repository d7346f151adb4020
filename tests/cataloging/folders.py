"""Folders of made-up faces, cataloged."""

import io

import cv2
import numpy as np
from PIL import Image

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.sources.open import SourceSettings


def face(seed: int, size: int = 112, kind: str = "PNG") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(cv2.resize(coarse, (size, size))).save(stream, kind)
    return stream.getvalue()


def make_folder(path, people: dict[str, int], first_seed: int = 0, **options):
    """Faces named as LFW's, distinct from one another."""
    for number, (person, count) in enumerate(people.items()):
        (path / person).mkdir(parents=True, exist_ok=True)
        for image in range(1, count + 1):
            seed = first_seed + 1000 * number + image
            (path / person / f"{person}_{image:04d}.png").write_bytes(face(seed, **options))
    return path


def folder(path, **options) -> SourceSettings:
    return SourceSettings(path=str(path), **{"aligned": True} | options)


def catalog(tmp_path, sources, benchmarks=None, **options):
    settings = CatalogSettings(sources=sources, benchmarks=benchmarks or {}, **options)
    return catalog_faces(settings, 0, tmp_path / "out" / "stores")
