"""What a synthetic person is, and what changes from one photograph to the next.

Lengths are in units in which a face measures about what it measures in the 112-pixel ArcFace template: x to
the right, y downwards, z towards the camera, origin between the eyes. Angles are radians, shares lie in 0..1.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from lafs_pipeline.runtime.seeding import random_generator

HAIR_STYLES = ("short", "parted", "fringe", "long", "curly", "bald")
BEARDS = ("none", "none", "none", "none", "stubble", "full", "moustache", "goatee")
GLASSES = ("none", "none", "none", "none", "round", "square")
OCCLUDERS = ("mask", "hand", "sunglasses", "blob", "hat")

_SKIN = np.array([(96, 62, 46), (150, 103, 76), (196, 145, 112), (226, 180, 150), (240, 205, 184)], float)
_HAIR = np.array(
    [(22, 18, 18), (48, 32, 24), (84, 56, 36), (126, 78, 42), (178, 138, 84), (150, 146, 142)], float
)
_IRIS = np.array([(52, 32, 20), (88, 58, 32), (96, 104, 62), (88, 122, 150), (120, 128, 132)], float)


def _between(low: float, high: float) -> Any:
    return field(metadata={"range": (low, high)})


def _draw(cls: type[Any], generator: np.random.Generator, **given: Any) -> Any:
    names = [part.name for part in fields(cls) if "range" in part.metadata]
    low, high = np.array([part.metadata["range"] for part in fields(cls) if "range" in part.metadata]).T
    return cls(**dict(zip(names, generator.uniform(low, high).tolist(), strict=True)), **given)


def _blend(palette: np.ndarray, position: float) -> np.ndarray:
    index = min(int(position * (len(palette) - 1)), len(palette) - 2)
    share = position * (len(palette) - 1) - index
    return palette[index] * (1 - share) + palette[index + 1] * share


@dataclass(frozen=True)
class Identity:
    """What stays: geometry, colors and marks of one person."""

    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lip: np.ndarray
    hair_style: str
    beard: str
    glasses: str
    marks: np.ndarray
    strands: np.ndarray
    eye_offset: float = _between(15.5, 19.8)
    eye_half_width: float = _between(4.8, 7.4)
    eye_half_height: float = _between(2.0, 3.9)
    eye_tilt: float = _between(-0.16, 0.24)
    eye_asymmetry: float = _between(-0.09, 0.09)
    iris_radius: float = _between(2.5, 3.3)
    lid_crease: float = _between(1.0, 3.4)
    brow_height: float = _between(7.0, 11.5)
    brow_thickness: float = _between(0.5, 1.7)
    brow_arch: float = _between(0.0, 3.6)
    brow_tilt: float = _between(-2.0, 2.2)
    brow_half_length: float = _between(6.5, 9.6)
    brow_shift: float = _between(-1.6, 1.6)
    nose_length: float = _between(15.5, 24.0)
    nose_half_width: float = _between(4.4, 8.6)
    bridge_half_width: float = _between(1.6, 3.8)
    nose_depth: float = _between(9.0, 17.0)
    nose_droop: float = _between(-1.2, 2.4)
    philtrum: float = _between(14.0, 23.0)
    mouth_half_width: float = _between(10.5, 17.0)
    mouth_curve: float = _between(-1.6, 1.4)
    upper_lip: float = _between(1.1, 4.2)
    lower_lip: float = _between(1.8, 5.0)
    cupid_bow: float = _between(0.0, 1.6)
    chin_drop: float = _between(15.0, 25.0)
    chin_half_width: float = _between(6.0, 15.0)
    jaw_half_width: float = _between(21.0, 33.0)
    cheek_half_width: float = _between(31.0, 39.0)
    temple_half_width: float = _between(28.0, 36.0)
    hairline: float = _between(-40.0, -27.0)
    recession: float = _between(-9.0, 5.0)
    part: float = _between(-0.7, 0.7)
    hair_volume: float = _between(2.0, 9.0)
    crown: float = _between(-62.0, -53.0)
    ear_length: float = _between(8.0, 14.0)
    ear_spread: float = _between(1.5, 6.0)
    folds: float = _between(0.0, 1.0)
    cheekbone: float = _between(0.0, 1.0)

    @property
    def mouth_height(self) -> float:
        """The y of the line between the lips."""
        return self.nose_length + self.philtrum


@dataclass(frozen=True)
class Capture:
    """What one photograph adds: pose, expression, light, camera, and things in the way."""

    clothes: np.ndarray
    occluder: str
    haircut: str | None
    shaved: bool
    glasses_worn: bool
    gray: bool
    shadowed: bool
    blur: float
    noise: float
    yaw: float
    pitch: float
    smile: float
    mouth_open: float
    eye_openness: float
    roll: float = _between(-0.3, 0.3)
    brow_raise: float = _between(-1.6, 3.0)
    gaze: float = _between(-1.1, 1.1)
    light_x: float = _between(-1.0, 1.0)
    light_y: float = _between(-0.9, 0.5)
    light_share: float = _between(0.25, 0.85)
    gain: float = _between(0.65, 1.45)
    gamma: float = _between(0.7, 1.35)
    warmth: float = _between(-0.24, 0.24)
    tint: float = _between(-0.07, 0.07)
    saturation: float = _between(0.45, 1.2)
    hair_change: float = _between(-2.0, 2.0)
    tan: float = _between(0.86, 1.12)
    hair_tone: float = _between(0.7, 1.3)
    lipstick: float = _between(0.8, 1.15)


def sample_identity(seed: int, identity: int) -> Identity:
    """The person with number `identity` of the population `seed`."""
    generator = random_generator(seed, "synthetic identity", identity)
    tone, darkness, iris = generator.uniform(size=3)
    skin = _blend(_SKIN, tone) + generator.uniform(-7, 7, 3)
    hair = _blend(_HAIR, darkness * (0.35 + 0.65 * tone)) + generator.uniform(-8, 8, 3)
    redness = generator.uniform(0.1, 0.5)
    moles = generator.uniform((-24, -26, 0.5), (24, 52, 0.9), (generator.integers(0, 4), 3))
    freckle_count = generator.integers(15, 40) if generator.uniform() < 0.25 else 0
    freckles = generator.uniform((-24, 3, 0.2), (24, 22, 0.45), (freckle_count, 3))
    return _draw(
        Identity,
        generator,
        skin=skin,
        hair=hair.clip(8, 250),
        iris=_blend(_IRIS, iris * (0.3 + 0.7 * tone)),
        lip=skin * (1 - redness) + np.array((168, 62, 66)) * redness,
        hair_style=HAIR_STYLES[generator.integers(len(HAIR_STYLES))],
        beard=BEARDS[generator.integers(len(BEARDS))],
        glasses=GLASSES[generator.integers(len(GLASSES))],
        marks=np.concatenate([moles, freckles]),
        strands=generator.uniform(-1, 1, (14, 3)),
    )


def sample_capture(seed: int, identity: int, image: int, variation: float = 1.0) -> Capture:
    """The circumstances of photograph `image` of a person.

    Args:
        seed: of the population.
        identity: number of the person.
        image: number of the photograph.
        variation: from 0, where all photographs of a person are taken alike, to 1.
    """
    generator = random_generator(seed, "synthetic image", identity, image)
    smiling, talking, blinking, sharp, grainy = generator.uniform(size=5)
    how = _draw(
        Capture,
        generator,
        clothes=generator.uniform(15, 235, 3),
        occluder=OCCLUDERS[generator.integers(len(OCCLUDERS))] if generator.uniform() < 0.16 else "none",
        haircut=HAIR_STYLES[generator.integers(len(HAIR_STYLES))] if generator.uniform() < 0.4 else None,
        shaved=bool(generator.uniform() < 0.45),
        glasses_worn=bool(generator.uniform() < 0.6),
        gray=bool(generator.uniform() < 0.07),
        shadowed=bool(generator.uniform() < 0.2),
        blur=0.35 + 1.3 * sharp**3,
        noise=1.5 + 9.0 * grainy**2,
        yaw=float(np.clip(generator.normal(0, 0.27), -0.62, 0.62)),
        pitch=float(np.clip(generator.normal(0, 0.14), -0.3, 0.3)),
        smile=max(0.0, 1.6 * smiling - 0.6),
        mouth_open=max(0.0, 1.7 * talking - 0.9),
        eye_openness=0.12 if blinking < 0.05 else 0.6 + 0.5 * blinking,
    )
    if variation == 1:
        return how
    happens = random_generator(seed, "synthetic variation", identity, image).uniform(size=6) < variation
    return _calmer(how, variation, happens)


def _calmer(how: Capture, variation: float, happens: np.ndarray) -> Capture:
    """The photograph with a share of what departs from the middle, and the events (6,) that happen."""
    occluded, restyled, shaved, bare_eyed, gray, shadowed = happens.tolist()
    turns = ("yaw", "pitch", "smile", "mouth_open")
    calm: dict[str, Any] = {name: variation * getattr(how, name) for name in turns}
    for part in fields(Capture):
        if "range" in part.metadata:
            middle = sum(part.metadata["range"]) / 2
            calm[part.name] = middle + variation * (getattr(how, part.name) - middle)
    return replace(
        how,
        **calm,
        occluder=how.occluder if occluded else "none",
        haircut=how.haircut if restyled else None,
        shaved=how.shaved and shaved,
        glasses_worn=how.glasses_worn or not bare_eyed,
        gray=how.gray and gray,
        shadowed=how.shadowed and shadowed,
    )


def dress(who: Identity, how: Capture) -> Identity:
    """The person on the day of the photograph: tan, haircut, shave, make-up, glasses on or off."""
    return replace(
        who,
        skin=who.skin * how.tan,
        hair=who.hair * how.hair_tone,
        lip=who.lip * how.lipstick,
        hair_style=how.haircut or who.hair_style,
        beard="none" if how.shaved else who.beard,
        glasses=who.glasses if how.glasses_worn else "none",
    )
