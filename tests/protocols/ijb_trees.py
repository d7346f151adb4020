"""Small trees in the form of IJB-B and IJB-C, of drawn faces."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lafs_pipeline.faces.alignment import transform_points
from lafs_pipeline.sources.synthetic.faces import draw_face

LOOSE = np.array([[1.4, 0.1, 12.0], [-0.1, 1.4, 30.0]])
"""From an aligned face to its loose crop."""


@dataclass(frozen=True)
class Tree:
    """Where a tree lies and what it holds.

    Attributes:
        root: folder of `loose_crop` and `meta`.
        stem: of the meta files: `<root>/meta/ijbc`.
        media: image, template, media in file order.
        pairs: template, template, label in file order.
        subject_of: by template.
        galleries: templates by name.
        probes: templates.
    """

    root: Path
    stem: str
    media: list[tuple[str, int, int]]
    pairs: list[tuple[int, int, int]]
    subject_of: dict[int, int]
    galleries: dict[str, list[int]]
    probes: list[int]

    def meta(self, name: str) -> Path:
        """`<stem><name>`."""
        return Path(f"{self.stem}{name}")

    def drop_line(self, name: str, number: int) -> str:
        """Take a line out of a meta file and return it."""
        lines = self.meta(name).read_text().splitlines(keepends=True)
        line = lines.pop(number)
        self.meta(name).write_text("".join(lines))
        return line


def write_tree(root: Path, kind: str = "ijbc", people: int = 8, seed: int = 5) -> Tree:
    """A gallery template of three images and two probe templates of two images a person; all pairs.

    Half of the people are in each gallery. The second and third image of a gallery template are frames of one
    video.
    """
    names = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}[kind]
    (root / "loose_crop").mkdir(parents=True)
    (root / "meta").mkdir()
    media, points, subject_of = [], [], {}
    galleries: dict[str, list[int]] = {name: [] for name in names}
    probes: list[int] = []
    for person in range(people):
        for part, images in enumerate((3, 2, 2)):
            template = 100 * part + 7 * person + 1
            subject_of[template] = 1000 + person
            (galleries[names[person % 2]] if part == 0 else probes).append(template)
            for number in range(images):
                image = f"{len(media) + 1}.jpg"
                clip = 1 if part == 0 and number > 0 else number
                media.append((image, template, 10_000 + 50 * template + clip))
                face = draw_face(seed, person, 10 * part + number)
                crop = cv2.warpAffine(face.image, LOOSE, (180, 220), borderMode=cv2.BORDER_REPLICATE)
                cv2.imwrite(str(root / "loose_crop" / image), crop[:, :, ::-1])
                where = transform_points(LOOSE, face.points).ravel()
                points.append(
                    " ".join([image, *(f"{value:.3f}" for value in where), f"{0.5 + 0.06 * number:.3f}"])
                )
    enrolled = [template for gallery in galleries.values() for template in gallery]
    pairs = [(a, b, int(subject_of[a] == subject_of[b])) for a in enrolled for b in probes]
    tree = Tree(root, str(root / "meta" / kind), media, pairs, subject_of, galleries, probes)
    tree.meta("_face_tid_mid.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in media))
    tree.meta("_name_5pts_score.txt").write_text("".join(f"{line}\n" for line in points))
    tree.meta("_template_pair_label.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in pairs))
    for name, members in (
        *((f"gallery_{key}", value) for key, value in galleries.items()),
        ("probe_mixed", probes),
    ):
        rows = [f"{t},{subject_of[t]},img/{image}\n" for image, t, _ in media if t in members]
        tree.meta(f"_1N_{name}.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n" + "".join(rows))
    return tree
