"""A page of probes and who they were taken for."""

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import numpy as np

from lafs_pipeline.reporting.pictures import face_picture


@dataclass(frozen=True, eq=False)
class Answer:
    """A face of the gallery; `image` (H, W, 3) uint8 RGB where there is one."""

    key: str
    person: str
    similarity: float
    is_accepted: bool
    image: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Search:
    """A probe, who it is taken for, and the nearest faces, nearest first."""

    key: str
    who: str
    image: np.ndarray | None
    answers: Sequence[Answer]


def render_answers(searches: Sequence[Search], threshold: float, how: str) -> str:
    """The page, HTML without scripts and with every face inside; text from the data is escaped.

    Args:
        searches: in their order.
        threshold: cosine similarity from which an answer is accepted.
        how: it was found.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lafs_pipeline", "reporting"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("search.html.j2").render(
        searches=searches, threshold=f"{threshold:.4f}", how=how, picture=_picture
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _picture(face: Search | Answer) -> str:
    return "" if face.image is None else face_picture(face.image, face.key).source
