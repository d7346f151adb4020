"""How a synthetic person is drawn, back to front."""

import numpy as np

from lafs_pipeline.sources.synthetic.canvas import CIRCLE, Canvas, ellipse, mirrored, smooth
from lafs_pipeline.sources.synthetic.identity import Capture, Identity

_SMALLEST_MOLE = 0.5
_ACROSS = np.linspace(-1, 1, 9)
_BULGE = np.sqrt(1 - _ACROSS**2)


def draw_person(canvas: Canvas, who: Identity, how: Capture) -> None:
    """Draw one person, dressed for the photograph."""
    _draw_body(canvas, who, how)
    _draw_skin(canvas, who, how)
    canvas.soften(9)
    _draw_nose(canvas, who)
    _draw_mouth(canvas, who, how)
    for side in (-1, 1):
        _draw_eye(canvas, who, how, side)
        _draw_brow(canvas, who, how, side)
    _draw_marks(canvas, who)
    _draw_hair(canvas, who, how)
    if who.glasses != "none":
        _draw_glasses(canvas, who)


def eye_center(who: Identity, how: Capture, side: int) -> np.ndarray:
    """Where the pupil is; `side` is -1 for the eye on the left of the image."""
    return np.array((side * who.eye_offset + how.gaze, 0.0, 0.0))


def mouth_corner(who: Identity, how: Capture, side: int) -> np.ndarray:
    """Where the lips meet; a smile draws the corners outwards and up, an open mouth inwards."""
    half_width = who.mouth_half_width * (1 + 0.17 * how.smile - 0.12 * how.mouth_open)
    height = who.mouth_height - who.mouth_curve - 2.6 * how.smile + 1.6 * how.mouth_open
    return np.array((side * half_width, height, 0.0))


def _jaw_drop(how: Capture) -> float:
    return 6.0 * how.mouth_open


def _draw_body(canvas: Canvas, who: Identity, how: Capture) -> None:
    chin = who.mouth_height + who.chin_drop + _jaw_drop(how)
    if who.hair_style in ("long", "curly"):
        width, bottom = who.temple_half_width + who.hair_volume + how.hair_change, 40 + 9 * who.hair_volume
        locks = [(0, who.crown - 4, -40), (width * 0.8, who.crown * 0.75, -40), (width + 2, -5, -36)]
        canvas.fill(smooth(mirrored([*locks, (width + 4, 30, -34), (width, bottom, -34)])), who.hair * 0.75)
    neck = who.jaw_half_width * 0.82
    canvas.fill(mirrored([(neck, 20, -38), (neck, chin + 14, -38), (neck + 8, 120, -40)]), who.skin * 0.72)
    canvas.fill(
        mirrored(
            [(neck * 0.5, chin + 16, -30), (neck + 6, chin + 9, -36), (90, chin + 26, -40), (90, 150, -40)]
        ),
        how.clothes,
    )
    for side in (-1, 1):
        x = side * (who.cheek_half_width + who.ear_spread * 0.5)
        canvas.fill(ellipse(x, 6, -30, who.ear_spread, who.ear_length), who.skin * 0.86)
        canvas.fill(ellipse(x, 5, -30, who.ear_spread * 0.5, who.ear_length * 0.6), who.skin * 0.66)


def _draw_skin(canvas: Canvas, who: Identity, how: Capture) -> None:
    mouth, drop = who.mouth_height, _jaw_drop(how)
    chin = mouth + who.chin_drop + drop
    outline = [
        (who.temple_half_width * 0.35, who.crown + 3, -28),
        (who.temple_half_width * 0.82, who.crown * 0.7, -24),
        (who.temple_half_width, -20, -20),
        (who.cheek_half_width, 6, -20),
        (who.cheek_half_width * 0.96, 20, -19),
        (who.jaw_half_width, mouth + 4 + drop * 0.5, -15),
        (who.chin_half_width, chin - 1.5, -4),
    ]
    face = smooth(mirrored(outline))
    canvas.fill(face, who.skin * 0.9)
    canvas.fill(face * (0.9, 0.95, 1) + (0, 0, 8), who.skin)
    canvas.fill(face * (0.76, 0.95, 1) + (0, 0, 16), who.skin)
    if who.beard in ("stubble", "full"):
        _draw_beard(canvas, who, chin)
    for side in (-1, 1):
        canvas.fill(ellipse(side * who.eye_offset, -1, -3, who.eye_half_width * 1.4, 6.5), who.skin * 0.88)
        cheek = ellipse(side * who.cheek_half_width * 0.6, 17 - 2 * how.smile, -8, 7, 5)
        canvas.fill(cheek, who.skin * (1.06, 1.0, 0.99))
        hollow = np.array([(0.8, 18, -10), (0.58, 26, -2), (0.62, 40, -4), (0.76, 34, -10)])
        tone = 1 - 0.2 * who.cheekbone
        canvas.fill(
            smooth(hollow * (side * who.cheek_half_width, 1, 1)),
            who.skin * (tone if who.beard != "full" else 1),
        )
    _shade_nose(canvas, who, how)
    canvas.fill(
        ellipse(0, mouth + who.lower_lip + 2.5 + drop, 0, who.mouth_half_width * 0.5, 2), who.skin * 0.8
    )
    canvas.fill(ellipse(0, (who.hairline - who.brow_height) / 2, 0, 16, 6), who.skin * 1.05)


def _shade_nose(canvas: Canvas, who: Identity, how: Capture) -> None:
    bridge, wing, tip, depth = who.bridge_half_width, who.nose_half_width, who.nose_length, who.nose_depth
    root = [(bridge * 0.8, -6, 3), (bridge + 2.2, -3, 0), (bridge + 2, tip * 0.6, 2), (wing + 1, tip, 3)]
    flank = np.array([*root, (wing * 0.4, tip - 2, depth * 0.7), (bridge * 0.7, tip * 0.4, depth * 0.5)])
    for side in (-1, 1):
        lit = side * how.light_x > 0
        canvas.fill(flank * (side, 1, 1), who.skin * (0.96 if lit else 0.78))
    ridge = [(0, -4, 4), (bridge * 0.6, tip * 0.5, depth * 0.6), (bridge * 0.9, tip - 1, depth)]
    canvas.fill(mirrored(ridge), who.skin * 1.1)


def _draw_beard(canvas: Canvas, who: Identity, chin: float) -> None:
    share = 0.72 if who.beard == "full" else 0.25
    mouth, width = who.mouth_height, who.jaw_half_width
    edge = [
        (who.cheek_half_width * 0.98, 14, -19),
        (width + 1.5, mouth + 4, -15),
        (who.chin_half_width, chin + 1, -3),
    ]
    inner = [(0.0, chin + 1.5, -3), (0.0, mouth - 7, 4), (who.mouth_half_width * 0.9, mouth - 6, 2)]
    outline = np.array([*edge, *inner, (who.cheek_half_width * 0.8, 24, -12)])
    for side in (-1, 1):
        canvas.fill(outline * (side, 1, 1), who.hair * 0.9 * share + who.skin * (1 - share))


def _draw_nose(canvas: Canvas, who: Identity) -> None:
    tip, wing, depth = who.nose_length, who.nose_half_width, who.nose_depth
    for side in (-1, 1):
        curve = [
            (wing - 0.6, tip - 3.5, 4),
            (wing + 0.5, tip - 0.5, 4),
            (wing, tip + 2, 4),
            (wing - 1.6, tip + 2.6, 5),
        ]
        canvas.stroke(np.array(curve) * (side, 1, 1), who.skin * 0.68, 0.6)
        nostril = ellipse(side * wing * 0.5, tip + 2.4 + who.nose_droop * 0.3, depth * 0.55, wing * 0.24, 0.9)
        canvas.fill(nostril, who.skin * 0.5)
        fold = [
            (wing + 1.5, tip + 1, 2),
            (who.mouth_half_width, tip + 8, 0),
            (who.mouth_half_width + 2.5, tip + 15, -2),
        ]
        canvas.stroke(np.array(fold) * (side, 1, 1), who.skin * (1 - 0.28 * who.folds), 0.5)
    base = [(-wing * 0.4, tip + 2.6, depth * 0.6), (0, tip + 3.2 + who.nose_droop, depth * 0.8)]
    canvas.stroke(np.array([*base, (wing * 0.4, tip + 2.6, depth * 0.6)]), who.skin * 0.7, 0.6)
    canvas.fill(ellipse(0, tip - 0.8, depth, 1.2, 0.9), who.skin * 1.18)


def _draw_mouth(canvas: Canvas, who: Identity, how: Capture) -> None:
    x, corner, _ = mouth_corner(who, how, 1)
    middle, gap = who.mouth_height, 1.0 * how.smile + 8.0 * how.mouth_open
    upper, lower = who.upper_lip * (1 - 0.25 * how.smile), who.lower_lip * (1 - 0.2 * how.smile)
    top = [
        (-x, corner),
        (-x * 0.5, middle - upper * 0.75),
        (-x * 0.16, middle - upper),
        (0, middle - upper + who.cupid_bow),
    ]
    top += [(-a, b) for a, b in top[-2::-1]]
    parting = middle + (corner - middle) * np.abs(_ACROSS) ** 3
    opened = parting + gap * _BULGE
    bottom = opened + lower * _BULGE
    across = _ACROSS * x
    depth = 5.0 * (1 - _ACROSS**2)
    over = np.array([(a, b, 5.0 * (1 - (a / x) ** 2)) for a, b in top])
    seam = np.stack([across, parting, depth], 1)
    canvas.fill(np.concatenate([over, seam[::-1]]), who.lip * 0.88)
    floor = np.stack([across, opened, depth], 1)
    canvas.fill(np.concatenate([floor, np.stack([across, bottom, depth], 1)[::-1]]), who.lip)
    if gap > 1.2:
        canvas.fill(np.concatenate([seam, floor[::-1]]), np.array((70, 26, 28)))
        teeth = np.stack([across, parting + np.minimum(gap * 0.7, 2.8) * _BULGE, depth], 1)
        canvas.fill(np.concatenate([seam, teeth[::-1]])[1:-1], np.array((226, 220, 208)))
    else:
        canvas.stroke(seam, who.lip * 0.45, 0.6)
    if who.beard in ("moustache", "goatee", "full"):
        whiskers = [
            (0, middle - upper - 1),
            (x * 0.6, middle - upper * 0.8),
            (x * 1.06, corner + 2),
            (x * 0.8, middle - upper - 3.5),
            (0, middle - upper - 5.5),
        ]
        for side in (-1, 1):
            canvas.fill(np.array([(side * a, b, 5) for a, b in whiskers]), who.hair * 0.85)
    if who.beard == "goatee":
        chin = middle + gap + lower + 4
        canvas.fill(
            smooth(mirrored([(x * 0.3, chin, 2), (x * 0.6, chin + 6, 0), (x * 0.3, chin + 11, 0)])),
            who.hair * 0.85,
        )


def _draw_eye(canvas: Canvas, who: Identity, how: Capture, side: int) -> None:
    half = who.eye_half_width
    height = who.eye_half_height * (1 + side * who.eye_asymmetry) * how.eye_openness
    center = np.array((side * who.eye_offset, 0.0, 0.0))
    slope = -who.eye_tilt * side

    def lid(share: float, lift: float = 0.0) -> np.ndarray:
        y = share * height * _BULGE + slope * _ACROSS * half - lift
        return np.stack([_ACROSS * half, y, -3.0 * (side * _ACROSS).clip(0)], 1) + center

    upper, lower = lid(-1.0), lid(0.8 - 0.35 * how.smile)
    canvas.fill(np.concatenate([upper, lower[::-1]]), np.array((228, 222, 216)) * 0.6 + who.skin * 0.36)
    for radius, color in ((who.iris_radius, who.iris), (who.iris_radius * 0.45, np.array((14, 12, 12)))):
        disc = ellipse(*eye_center(who, how, side), radius, radius)
        disc[:, 1] = disc[:, 1].clip(
            np.interp(disc[:, 0], upper[:, 0], upper[:, 1]), np.interp(disc[:, 0], lower[:, 0], lower[:, 1])
        )
        canvas.fill(disc, color)
    if how.eye_openness > 0.4:
        glint = eye_center(who, how, side) + np.array((0.9 * np.sign(how.light_x), -0.9, 0.5))
        canvas.fill(ellipse(*glint, 0.5, 0.5), np.array((240, 240, 240)))
    canvas.stroke(upper, who.skin * 0.28, 0.9)
    canvas.stroke(lower, who.skin * 0.62, 0.5)
    canvas.stroke(lid(-1.0, lift=who.lid_crease)[1:-1], who.skin * 0.66, 0.5)


def _draw_brow(canvas: Canvas, who: Identity, how: Capture, side: int) -> None:
    rise = who.brow_height + how.brow_raise + 6.0 * side * who.eye_asymmetry
    y = -rise - who.brow_arch * (1 - _ACROSS**2) - who.brow_tilt * _ACROSS
    x = side * (who.eye_offset + who.brow_shift + _ACROSS * who.brow_half_length)
    z = 3.0 - 4.0 * _ACROSS.clip(0)
    thickness = who.brow_thickness * (1.15 - 0.75 * _ACROSS.clip(0)) * (0.55 + 0.45 * _BULGE)
    upper, lower = np.stack([x, y - thickness, z], 1), np.stack([x, y + thickness, z], 1)
    canvas.fill(np.concatenate([upper, lower[::-1]]), who.hair * 0.68 + who.skin * 0.12)


def _draw_marks(canvas: Canvas, who: Identity) -> None:
    places = np.insert(who.marks[:, :2], 2, -((who.marks[:, 0] / 9) ** 2), axis=1)
    outlines = places[:, None] + CIRCLE[::2] * who.marks[:, 2, None, None]
    moles = who.marks[:, 2] >= _SMALLEST_MOLE
    canvas.fill(outlines[moles], who.skin * 0.5)
    canvas.fill(outlines[~moles], who.skin * 0.8)


def _draw_hair(canvas: Canvas, who: Identity, how: Capture) -> None:
    if who.hair_style == "bald":
        return
    temple, line, volume = who.temple_half_width, who.hairline, who.hair_volume + how.hair_change
    edge = np.array([-1.0, -0.84, -0.45, 0.0, 0.45, 0.84, 1.0])
    rise = np.array([26.0, 11.0, who.recession, 0.0, who.recession, 11.0, 26.0]) + line
    if who.hair_style == "fringe":
        rise = np.array([line + 30, -13, -15, -14, -15, -13, line + 30]) + how.hair_change - 0.15 * volume
    elif who.hair_style in ("parted", "long"):
        rise += 9.0 * (edge - who.part) ** 2
    hairline = np.stack([edge * (temple + 1.5), rise, -2.0 - 20.0 * edge**4], 1)
    crown = who.crown - volume
    side = [(temple + volume * 0.7, -12, -26), (temple * 0.95 + volume, crown * 0.55, -26)]
    outer = np.array([*side, (temple * 0.5, crown * 0.95, -24), (0, crown, -22)])
    outline = np.concatenate([hairline, outer, outer[-2::-1] * (-1, 1, 1)])
    canvas.fill(smooth(outline), who.hair)
    x, y, size = who.strands.T
    if who.hair_style == "curly":
        centers = np.stack([x * (temple + 2), crown * 0.62 + 16 * y + 9 * x * x, np.full_like(x, -12)], 1)
        curls = centers[:, None] + CIRCLE * (6 + 2 * size)[:, None, None]
        for part, tone in ((slice(None, None, 2), 0.82), (slice(1, None, 2), 1.18)):
            canvas.fill(curls[part], who.hair * tone)
        return
    foot = np.interp(0.86 * x, edge, rise)
    lower = np.stack([x * temple * 0.86, foot - 1, -3 - 12 * x**4], 1)
    upper = np.stack([x * temple * 0.8 + 4 * y, np.full_like(x, crown * 0.8), np.full_like(x, -18)], 1)
    strands = np.stack([lower, upper], 1)
    for part, tone in ((slice(None, None, 2), 0.78), (slice(1, None, 2), 1.25)):
        canvas.stroke(strands[part], who.hair * tone, 0.8)


def _draw_glasses(canvas: Canvas, who: Identity) -> None:
    frame = np.array((38, 32, 32)) + who.hair * 0.25
    reach, height = who.eye_half_width + 4.5, who.eye_half_height + 4.5
    for side in (-1, 1):
        center = (side * who.eye_offset, 1.5, 7)
        rim = ellipse(*center, reach, height + 1.5)
        if who.glasses == "square":
            limit = np.array((reach * 0.85, height * 0.72, 0))
            rim = (rim - center).clip(-limit, limit) + center
        canvas.stroke(np.concatenate([rim, rim[:1]]), frame, 1.1)
        temple = np.array(
            [(side * (who.eye_offset + reach), 0, 6), (side * (who.cheek_half_width + 1), -1, -24)]
        )
        canvas.stroke(temple, frame, 1.0)
    inner = who.eye_offset - reach * (0.85 if who.glasses == "square" else 1)
    canvas.stroke(np.array([(-inner, 0, 8), (0, -1, 9), (inner, 0, 8)]), frame, 1.1)
