"""How fast images become LAFS views: with OpenCV, with torchvision's PIL transforms, on the device.

OpenCV and PIL make ten views in two copies (clean and appearance) as uint8 arrays, from the same image in
memory. Their rounds alternate; every round repeats the same draws, and for every image the quickest round
counts. The device renderer makes the same views of a whole batch as float32, from draws made before: on one
core, where it is expected to lose, and on a GPU where there is one, with the copy from the host included.

    python -m benchmarks.views [--images 40] [--rounds 10] [--json]
"""

import argparse
import json
import random
import time

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch.utils.data import default_collate
from torchvision import transforms

from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.device import parameter_arrays, render_batch
from lafs_pipeline.views.parameters import ViewSettings, draw_view_parameters
from lafs_pipeline.views.render import LafsViews

CORE_BATCH = 32
GPU_BATCH = 164


class PillowBlur:
    """Gaussian blur as in DINO's training script."""

    def __init__(self, probability: float):
        self.probability = probability

    def __call__(self, image: Image.Image) -> Image.Image:
        if random.random() > self.probability:
            return image
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class PillowSolarize:
    """Solarization as in DINO's training script."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return ImageOps.solarize(image) if random.random() < 0.2 else image


class PillowViews:
    """The ten views in two copies, written with torchvision's PIL transforms: the literal reference."""

    def __init__(self):
        self.geometry = transforms.Compose(
            [
                transforms.RandomResizedCrop(
                    112, scale=(0.4, 1.0), interpolation=transforms.InterpolationMode.BICUBIC
                ),
                transforms.RandomHorizontalFlip(0.5),
            ]
        )
        color = [
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
        ]
        self.appearances = [
            transforms.Compose([*color, PillowBlur(1.0)]),
            transforms.Compose([*color, PillowBlur(0.1), PillowSolarize()]),
            *[transforms.Compose([*color, PillowBlur(0.5)])] * 8,
        ]

    def __call__(self, array: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        image = Image.fromarray(array)
        views = []
        for appearance in self.appearances:
            clean = self.geometry(image)
            views.append((np.asarray(clean), np.asarray(appearance(clean))))
        return views


def smooth_noise(images: int) -> list[np.ndarray]:
    noise = random_generator("benchmark", "views").integers(0, 256, (images, 112, 112, 3), dtype=np.uint8)
    return [cv2.GaussianBlur(image, (0, 0), 4.0) for image in noise]


def measure(images: int, rounds: int) -> dict[str, float]:
    """Seconds an image of both, and what follows from them."""
    pictures = smooth_noise(images)
    reference, ours = PillowViews(), LafsViews(ViewSettings())

    def run_ours(index: int) -> None:
        ours(pictures[index], random_generator("benchmark", index))

    def run_reference(index: int) -> None:
        reference(pictures[index])

    seconds = np.empty((2, rounds, images))
    for repeat in range(rounds):
        for side, run in enumerate((run_reference, run_ours)):
            for index in range(images):
                random.seed(index)
                torch.manual_seed(index)
                start = time.perf_counter()
                run(index)
                seconds[side, repeat, index] = time.perf_counter() - start
    slow, quick = seconds.min(axis=1).mean(axis=1)
    return {
        "views_speedup": slow / quick,
        "images_per_second_per_core": 1 / quick,
        "reference_images_per_second_per_core": 1 / slow,
    }


def measure_device(device: str, batch: int, rounds: int) -> float:
    """Images a second of the device renderer, in the quickest round."""
    settings = ViewSettings()
    samples = [
        {
            "image": image,
            **parameter_arrays(draw_view_parameters(settings, 112, 112, random_generator(index))),
        }
        for index, image in enumerate(smooth_noise(batch))
    ]
    host = default_collate(samples)
    if device == "cuda":
        host = {name: tensor.pin_memory() for name, tensor in host.items()}
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        there = {name: tensor.to(device, non_blocking=True) for name, tensor in host.items()}
        render_batch(there["image"], there, settings)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return batch / min(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    figures = measure(arguments.images, arguments.rounds)
    figures["device_images_per_second_per_core"] = measure_device("cpu", CORE_BATCH, arguments.rounds)
    if torch.cuda.is_available():
        figures["gpu_images_per_second"] = measure_device("cuda", GPU_BATCH, arguments.rounds)
    for name, value in figures.items():
        print(f"{name:40s}{value:10.1f}")
    core, device_core = figures["images_per_second_per_core"], figures["device_images_per_second_per_core"]
    quicker = "OpenCV" if core > device_core else "the device renderer"
    print(f"On one core {quicker} is the quicker of the two.")
    if arguments.json:
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
