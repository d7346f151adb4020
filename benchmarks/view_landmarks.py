"""How well landmarks are known in a zoomed view: found in it, or found in the whole face and moved.

Faces with annotated points (300-W's layout) are cropped as pretraining crops its views; a linear regression,
cross-validated over faces, tells the points of the view from its landmarks. Beside both stand a mesh that
is fixed on the aligned face and moved, and one that is fixed in the view.

    python -m benchmarks.view_landmarks data/06_models/landmark_network.safetensors FOLDER_OF_PTS [--views 4]
"""

import argparse

import numpy as np
import torch

from lafs_pipeline.evaluation.landmarks.truth import AnnotatedFaces, read_annotated_faces, regression_error
from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.models.landmark_network import mesh_landmarks
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.landmarks import transform_landmarks
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import ViewSettings, draw_view_parameters
from lafs_pipeline.views.render import resized_crop

SIZE = 112
VIEW = ViewSettings(global_views=1, local_views=1, flip_probability=0.0)
ZOOMS = ((1.0, 1.15), (1.15, 1.3), (1.3, 2.0))


@torch.inference_mode()
def errors(
    network: torch.nn.Module, faces: AnnotatedFaces, seed: int, zoom: tuple[float, float]
) -> dict[str, float]:
    """Regression error of each way as a share of the eyes' distance in the view, of one view per face."""
    draws = [
        draw_view_parameters(VIEW, SIZE, SIZE, random_generator(seed, "zoomed view", index)).boxes[1]
        for index in range(len(faces.images))
    ]
    zooms = np.array([SIZE / np.sqrt(box[2] * box[3]) for box in draws])
    kept = np.flatnonzero((zooms >= zoom[0]) & (zooms < zoom[1]))
    images, boxes = faces.images[kept], np.stack(draws)[kept]
    views = np.stack(
        [resized_crop(image, box.tolist(), SIZE, False) for image, box in zip(images, boxes, strict=True)]
    )

    def find(pictures: np.ndarray) -> torch.Tensor:
        return torch.cat([network(to_input(part)) for part in torch.from_numpy(pictures).split(64)])

    def moved(points: torch.Tensor) -> np.ndarray:
        still = torch.zeros(len(boxes), dtype=torch.bool)
        return transform_landmarks(points, torch.from_numpy(boxes), still, SIZE).numpy()

    points = moved(torch.from_numpy(faces.points[kept]).float())
    scale = faces.scale[kept] * zooms[kept]
    seen = AnnotatedFaces(views, points, scale)
    mesh = mesh_landmarks(network.sizes["num_landmarks"]).expand(len(kept), -1, -1)
    ways = {
        "found in the view": find(views).numpy(),
        "found in the face, moved": moved(find(images)),
        "mesh on the face, moved": moved(mesh),
        "mesh in the view": mesh.numpy(),
    }
    return {name: regression_error(landmarks, seen)[0] for name, landmarks in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model file with landmarks")
    parser.add_argument("annotations", help="folder of images with .pts files")
    parser.add_argument("--views", type=int, default=4, help="views of each face")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    network, faces = getattr(model, "landmark_network", model), read_annotated_faces(arguments.annotations)
    print(
        f"{'zoom':14}"
        + "".join(f"{name:>28}" for name in ("in the view", "moved", "mesh moved", "mesh in view"))
    )
    for zoom in ZOOMS:
        rounds = [errors(network, faces, seed, zoom) for seed in range(arguments.views)]
        means = [100 * np.mean([values[name] for values in rounds]) for name in rounds[0]]
        print(f"{zoom[0]:.2f} to {zoom[1]:.2f} " + "".join(f"{mean:27.1f}%" for mean in means))


if __name__ == "__main__":
    main()
