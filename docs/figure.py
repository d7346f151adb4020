"""The figure of the method in the README: one face, its views, their tokens, student and teacher.

`python -m docs.figure --network data/06_models/landmark_network.safetensors` draws it after `make demo`,
with the landmarks learned there; without a network they stand on the grid that training starts from.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image

from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.models.landmark_network import LandmarkNetwork, MirroredLandmarks
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.sources.synthetic.faces import draw_face
from lafs_pipeline.training.view_landmarks import move_landmarks
from lafs_pipeline.views.landmarks import draw_subsets, perturb_landmarks, take_landmarks
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import ViewSettings
from lafs_pipeline.views.render import LafsViews

TARGET = Path(__file__).with_name("images") / "method.png"
PERSON, PHOTOGRAPH, SEED = 10, 1, 4
LANDMARKS, PATCH, LOCAL_LANDMARKS, LOCAL_VIEWS = 49, 16, 12, 6
"""As the demo has them."""
WIDTH, HEIGHT, DOTS_PER_INCH = 16.0, 6.0, 110
INK, SOFT, PAPER = "#1b2733", "#5b6b7a", "#ffffff"
STUDENT, TEACHER = "#1769aa", "#b3541e"
COLORS = np.array(
    [[0.10, 0.45, 0.82], [0.11, 0.68, 0.63], [0.98, 0.75, 0.18], [0.93, 0.36, 0.24], [0.62, 0.27, 0.66]]
)
"""Along the order of the landmarks, so that one landmark has one color in every view."""


def landmark_colors(count: int) -> np.ndarray:
    """Colors (count, 3) that change evenly from the first landmark to the last."""
    place = np.linspace(0, len(COLORS) - 1, count)
    return np.stack(
        [np.interp(place, range(len(COLORS)), COLORS[:, channel]) for channel in range(3)], axis=1
    )


def draw_method(network: LandmarkNetwork) -> Figure:
    """Draw the whole figure.

    Args:
        network: finds the landmarks of the face and of its mirror image, which are moved into every view.
    """
    generator = torch.Generator().manual_seed(SEED)
    face = draw_face(0, PERSON, PHOTOGRAPH).image
    settings = ViewSettings(local_landmarks=LOCAL_LANDMARKS, local_views=LOCAL_VIEWS)
    views = LafsViews(settings, clean=False)(face, np.random.default_rng(SEED))
    appearance = np.concatenate([views.global_appearance, views.local_appearance])
    with torch.inference_mode():
        found = MirroredLandmarks(network)(to_input(torch.from_numpy(face[None]))).reshape(1, 2, -1, 2)
    of_face = found[0, 0].numpy()
    drawn = (
        torch.from_numpy(np.asarray(value))[None]
        for value in (views.parameters.boxes, views.parameters.flips)
    )
    landmarks = move_landmarks(found, *drawn, settings.size)
    landmarks = perturb_landmarks(landmarks, settings.landmark_sigma, generator)
    count = landmarks.shape[1]
    subsets = (
        draw_subsets(len(views.local_appearance), count, LOCAL_LANDMARKS, generator, False).sort().values
    )
    points = [landmarks[:2], take_landmarks(landmarks[2:], subsets)]
    tokens = [
        sample_patches(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), places, PATCH)
        for pixels, places in zip((appearance[:2], appearance[2:]), points, strict=True)
    ]
    colors = landmark_colors(count)

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS_PER_INCH)
    page = _axes(figure, 0, 0, WIDTH, HEIGHT)
    page.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))

    _say(page, 1.6, "face", "aligned, unlabeled")
    _image(figure, 0.4, 2.25, 2.4, face, of_face, colors, dot=26)
    page.text(1.6, 1.8, f"{count} landmarks", ha="center", va="center", fontsize=19, color=INK, weight="bold")
    learned = "learned from warps,\nwithout labels"
    page.text(1.6, 1.55, learned, ha="center", va="top", fontsize=14.5, color=SOFT)
    _arrow(page, (2.95, 3.45), (3.4, 3.45))

    _say(page, 5.4, f"{2 + LOCAL_VIEWS} views", "cropped, mirrored, recolored")
    for number in range(2):
        places = points[0][number].numpy()
        _image(figure, 3.55 + number * 1.9, 2.85, 1.8, appearance[number], places, colors, dot=15)
    _note(page, 5.4, 2.66, "2 global: all landmarks")
    for number in range(LOCAL_VIEWS):
        x, y = 4.02 + number % 3 * 0.95, 1.6 - number // 3 * 0.95
        chosen, places = subsets[number].numpy(), points[1][number].numpy()
        _image(figure, x, y, 0.85, appearance[2 + number], places, colors[chosen], squares=True)
    _note(page, 5.4, 0.46, f"{LOCAL_VIEWS} local: {LOCAL_LANDMARKS} landmarks each")
    _arrow(page, (7.45, 3.75), (7.95, 3.75))
    _arrow(page, (7.45, 1.55), (7.95, 1.55))

    _say(page, 9.0, "tokens", "patches at landmarks")
    _mosaic(figure, 8.1, 2.85, 1.8, tokens[0][0], colors, 7)
    _note(page, 9.0, 2.66, f"{count} tokens")
    _mosaic(figure, 8.55, 1.1, 0.9, tokens[1][0], colors[subsets[0].numpy()], 4)
    _note(page, 9.0, 1.13, f"{LOCAL_LANDMARKS} tokens")

    _say(page, 13.05, "self-distillation", "then CosFace adapts to few labels")
    _network(page, 10.75, 3.2, "teacher", "moving average", TEACHER)
    _network(page, 10.75, 1.0, "student", "trained", STUDENT)
    _arrow(page, (10.05, 3.75), (10.65, 3.75), TEACHER)
    _arrow(page, (10.05, 3.2), (10.65, 2.0), STUDENT)
    _arrow(page, (9.6, 1.55), (10.65, 1.55), STUDENT)
    _arrow(page, (11.8, 2.2), (11.8, 3.1), TEACHER, dashed=True)
    page.text(11.95, 2.65, "weights", ha="left", va="center", fontsize=14.5, color=SOFT)
    _arrow(page, (12.95, 3.75), (14.3, 3.2), TEACHER)
    _arrow(page, (12.95, 1.55), (14.3, 2.1), STUDENT)
    _box(page, 13.55, 2.2, 2.05, 0.9, INK)
    page.text(14.58, 2.79, "DINO loss", ha="center", va="center", fontsize=19, color=PAPER, weight="bold")
    page.text(14.58, 2.47, "agree across views", ha="center", va="center", fontsize=13, color=PAPER)
    page.text(14.15, 3.9, "from global views", ha="center", va="center", fontsize=14.5, color=TEACHER)
    page.text(14.1, 1.4, "from all views", ha="center", va="center", fontsize=14.5, color=STUDENT)
    return figure


def _axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Axes without a frame, placed in inches from the lower left corner."""
    axes = figure.add_axes((x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.set_axis_off()
    return axes


def _say(page: Axes, x: float, title: str, text: str) -> None:
    """The heading of a column."""
    page.text(x, HEIGHT - 0.6, title, ha="center", va="center", fontsize=22, color=INK, weight="bold")
    page.text(x, HEIGHT - 0.98, text, ha="center", va="center", fontsize=15, color=SOFT)


def _note(page: Axes, x: float, y: float, text: str) -> None:
    page.text(x, y, text, ha="center", va="center", fontsize=14.5, color=SOFT)


def _image(
    figure: Figure,
    x: float,
    y: float,
    side: float,
    pixels: np.ndarray,
    points: np.ndarray,
    colors: np.ndarray,
    dot: float = 0,
    squares: bool = False,
) -> None:
    """One view with its landmarks as dots or as the patches that are cut there."""
    axes = _axes(figure, x, y, side, side)
    size = len(pixels)
    axes.imshow(pixels, extent=(0, size, size, 0), interpolation="bicubic")
    axes.set(xlim=(0, size), ylim=(size, 0))
    if squares:
        for (left, top), color in zip(points - PATCH / 2, colors, strict=True):
            axes.add_patch(
                Rectangle((left, top), PATCH, PATCH, facecolor="none", edgecolor=color, linewidth=1.6)
            )
    else:
        inside = ((points >= 0) & (points <= size)).all(axis=1)
        axes.scatter(
            *points[inside].T, s=dot, c=colors[inside], edgecolors=PAPER, linewidths=0.8, clip_on=False
        )


def _mosaic(
    figure: Figure, x: float, y: float, side: float, tokens: torch.Tensor, colors: np.ndarray, columns: int
) -> None:
    """Tokens (N, patch_size^2 * 3) as the patches that they are, framed in the colors of their landmarks."""
    patches = tokens.numpy().reshape(-1, PATCH, PATCH, 3).transpose(0, 2, 1, 3).clip(0, 255).astype(np.uint8)
    cell = side / columns
    for number, patch in enumerate(patches):
        row, column = divmod(number, columns)
        left, bottom = x + column * cell, y + side - (row + 1) * cell
        axes = _axes(figure, left + 0.06 * cell, bottom + 0.06 * cell, 0.88 * cell, 0.88 * cell)
        axes.imshow(patch, interpolation="bicubic", extent=(0, 1, 1, 0))
        frame = Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=colors[number], linewidth=2.2)
        axes.add_patch(frame)


def _box(page: Axes, x: float, y: float, width: float, height: float, color: str) -> None:
    page.add_patch(
        FancyBboxPatch(
            (x, y), width, height, "round,pad=0,rounding_size=0.15", facecolor=color, edgecolor="none"
        )
    )


def _network(page: Axes, x: float, y: float, name: str, text: str, color: str) -> None:
    _box(page, x, y, 2.1, 1.1, color)
    page.text(x + 1.05, y + 0.67, name, ha="center", va="center", fontsize=22, color=PAPER, weight="bold")
    page.text(x + 1.05, y + 0.31, text, ha="center", va="center", fontsize=15, color=PAPER)


def _arrow(
    page: Axes, start: Sequence[float], end: Sequence[float], color: str = SOFT, dashed: bool = False
) -> None:
    style = "--" if dashed else "-"
    shape = {"arrowstyle": "-|>", "mutation_scale": 18, "shrinkA": 0, "shrinkB": 0}
    page.add_patch(FancyArrowPatch(start, end, **shape, linewidth=2, linestyle=style, color=color))


def save(figure: Figure, target: Path) -> None:
    """Write a PNG of 256 colors."""
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor=PAPER)
    Image.open(drawn).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT).save(
        target, optimize=True
    )


def main() -> None:
    """Draw the figure into docs/images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--network", type=Path, help="a landmark network (.safetensors) instead of a fresh one"
    )
    parser.add_argument("--to", type=Path, default=TARGET, help="the file to write")
    given = parser.parse_args()
    network = load_model(given.network) if given.network else LandmarkNetwork(LANDMARKS, width=0.25)
    save(draw_method(network), given.to)


if __name__ == "__main__":
    main()
