"""Synthetic faces: enough of a face recognition problem to run the whole pipeline without any data set.

People differ in geometry, colors and marks; photographs of one person differ in pose, expression, hair,
light, camera, background, occlusion and alignment error. Every image is a pure function of (seed, identity,
image).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.alignment import similarity_transform
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.sources.source import EncodedFace
from lafs_pipeline.sources.synthetic.canvas import (
    CIRCLE,
    Canvas,
    draw_background,
    ellipse,
    mirrored,
    smooth,
)
from lafs_pipeline.sources.synthetic.drawing import draw_person, eye_center, mouth_corner
from lafs_pipeline.sources.synthetic.identity import Capture, Identity, dress, sample_capture, sample_identity

_HEAD_CENTER = np.array((0.0, 20.0, -35.0))
_CAMERA_DISTANCE = 420.0
_DETECTOR_NOISE = 0.7
_FIELD = np.linspace(-1, 1, 28)


@dataclass(frozen=True)
class SyntheticFace:
    """An aligned face and where its features are.

    Attributes:
        image: (112, 112, 3) uint8, RGB.
        points: (5, 2) float32, x and y in pixels (the center of the first pixel is 0, 0): pupil on the left
            of the image, pupil on its right, nose tip, mouth corner on the left, mouth corner on the right.
            They are the drawn features, also where something covers them; alignment leaves them near the
            ArcFace template.
    """

    image: np.ndarray
    points: np.ndarray


class SyntheticSource:
    """Drawn faces of drawn people, aligned already, as PNG; for trials and tests without any data set."""

    names_are_people = False

    def __init__(self, seed: int, identities: int, images_per_identity: int, variation: float = 1.0) -> None:
        self.seed, self.variation = seed, variation
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
        face = draw_face(self.seed, *divmod(index, self.images_per_identity), self.variation)
        encoded = cv2.imencode(".png", cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR))[1].tobytes()
        return EncodedFace(encoded, face.points)


def draw_face(seed: int, identity: int, image: int, variation: float = 1.0) -> SyntheticFace:
    """Draw photograph `image` of person `identity` of the population `seed`.

    Args:
        seed: of the population.
        identity: number of the person.
        image: number of the photograph.
        variation: of the photographs of one person, from 0 to 1.
    """
    how = sample_capture(seed, identity, image, variation)
    who = dress(sample_identity(seed, identity), how)
    generator = random_generator(seed, "synthetic scene", identity, image)
    features = np.stack(
        [
            eye_center(who, how, -1),
            eye_center(who, how, 1),
            (0.0, who.nose_length, who.nose_depth),
            mouth_corner(who, how, -1),
            mouth_corner(who, how, 1),
        ]
    )
    head_turn = _head_turn(how)
    seen = _look(features, head_turn)
    detected = seen + generator.normal(0, _DETECTOR_NOISE, seen.shape)
    alignment = similarity_transform(detected)

    def project(points: np.ndarray) -> np.ndarray:
        return _look(points, head_turn) @ alignment[:, :2].T + alignment[:, 2]

    canvas = Canvas(draw_background(generator), project)
    draw_person(canvas, who, how)
    if how.occluder != "none":
        _occlude(canvas, who, how, generator)
    small = cv2.resize(canvas.paint(), (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)
    return SyntheticFace(_photograph(small, how, generator), project(features).astype(np.float32))


def _look(points: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(..., 3) points of the face -> (..., 2) points on the film, in weak perspective."""
    turned = (points - _HEAD_CENTER) @ turn
    return turned[..., :2] / (1 - turned[..., 2:] / _CAMERA_DISTANCE)


def _head_turn(how: Capture) -> np.ndarray:
    """Pitch, then yaw, then roll, as a matrix for row vectors."""
    (pitch, yaw, roll), (rise, swing, lean) = (
        function((how.pitch, how.yaw, how.roll)) for function in (np.cos, np.sin)
    )
    return (
        np.array([(1, 0, 0), (0, pitch, rise), (0, -rise, pitch)])
        @ np.array([(yaw, 0, -swing), (0, 1, 0), (swing, 0, yaw)])
        @ np.array([(roll, lean, 0), (-lean, roll, 0), (0, 0, 1)])
    )


def _occlude(canvas: Canvas, who: Identity, how: Capture, generator: np.random.Generator) -> None:
    color = generator.uniform(15, 235, 3)
    chin = who.mouth_height + who.chin_drop
    if how.occluder == "mask":
        top = generator.uniform(0.45, 0.95) * who.nose_length
        sides = [(0, top, 16), (who.cheek_half_width * 0.6, top + 4, 0), (who.cheek_half_width, top + 4, -20)]
        canvas.fill(mirrored([*sides, (who.jaw_half_width, chin - 12, -14), (9, chin + 3, 0)]), color)
    elif how.occluder == "sunglasses":
        for side in (-1, 1):
            lens = ellipse(side * who.eye_offset, 2, 7, who.eye_half_width + 6.5, 8.5)
            canvas.fill(lens, np.array((20, 20, 24)) + 0.12 * color)
        canvas.stroke(np.array([(-34, -2, -10), (-9, -2, 8), (9, -2, 8), (34, -2, -10)]), color * 0.15, 1.5)
    elif how.occluder == "hat":
        brim = generator.uniform(-22, -13)
        rim = [(41, brim - 6, -14), (20, brim, 5), (0, brim + 1, 8)]
        canvas.fill(mirrored([(0, -90, -10), (44, -80, -10), *rim]), color)
        canvas.stroke(mirrored(rim), color * 0.6, 2)
    elif how.occluder == "hand":
        side, height = generator.choice((-1, 1)), generator.uniform(20, 55)
        for finger in range(4):
            y = height + 7.5 * finger
            tip = side * (4 + 4 * abs(finger - 1.4) + generator.uniform(0, 10))
            canvas.stroke(np.array([(tip, y, 16), (side * 75, y + 12, 10)]), who.skin * 0.62, 8.5)
            canvas.stroke(np.array([(tip, y, 17), (side * 75, y + 12, 11)]), who.skin * 0.96, 7)
    else:
        center, size = np.append(generator.uniform((-34, -30), (34, 62)), 16), generator.uniform(8, 17)
        lobes = CIRCLE[::2] * (size * generator.uniform(0.75, 1.25, (8, 1)))
        canvas.fill(smooth(center + lobes), color)


def _photograph(image: np.ndarray, how: Capture, generator: np.random.Generator) -> np.ndarray:
    """Light, color, blur and noise; integer arithmetic, so that every machine gives the same bytes."""
    lit = (image.astype(np.uint16) * _shading(how, generator)[..., None] + 64) >> 7
    image = lit.clip(0, 255).astype(np.uint8)
    if how.gray or how.saturation < 1:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        share = 0 if how.gray else int(256 * how.saturation)
        mixed = gray.astype(np.int32) * (256 - share) + image.astype(np.int32) * share
        image = ((mixed + 128) >> 8).clip(0, 255).astype(np.uint8)
    warmth = 0.0 if how.gray else how.warmth
    tint = 0.0 if how.gray else how.tint
    channels = how.gain * np.array((1 + warmth, 1 + tint, 1 - warmth))
    curve = (np.arange(256) / 255)[:, None] ** how.gamma * channels * 255
    image = cv2.LUT(image, np.rint(curve).clip(0, 255).astype(np.uint8)[None])
    image = cv2.GaussianBlur(image, (0, 0), how.blur)
    levels = np.rint(np.sort(generator.normal(0, how.noise, 256))).astype(np.int16)
    grain = levels[np.frombuffer(generator.bytes(image.size), np.uint8)].reshape(image.shape)
    return (image + grain).clip(0, 255).astype(np.uint8)


def _shading(how: Capture, generator: np.random.Generator) -> np.ndarray:
    """Lambert's law on an ellipsoid about the face, now and then with a cast shadow; 128 is neutral."""
    x, y = _FIELD[None, :] * 1.15, _FIELD[:, None] * 0.85 - 0.12
    z = np.sqrt((1 - x**2 - y**2).clip(0.05))
    light = np.array((how.light_x, how.light_y, 0.8))
    toward = (x * light[0] + y * light[1] + z * light[2]) / np.sqrt((light**2).sum())
    field = 1.15 * (1 - how.light_share) + how.light_share * 1.35 * toward.clip(0)
    if how.shadowed:
        slope, place = generator.uniform(-1, 1), generator.uniform(-0.5, 0.7)
        field = np.where(x + slope * y > place, field * generator.uniform(0.4, 0.75), field)
    coarse = cv2.GaussianBlur(np.rint(field * 128).clip(0, 255).astype(np.uint8), (0, 0), 0.8)
    return cv2.resize(coarse, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LINEAR_EXACT)
