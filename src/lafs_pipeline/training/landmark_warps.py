"""Landmarks without any label: a network learns where a warp moves the points of a mesh.

Every face is mirrored or not, changed in color and warped; the network is to find the points of a mesh that
is fixed on the aligned face, where the warp has moved them. Of an unwarped face it then finds the mesh fitted
to that face, since what faces have in common is all that it can learn to find. Later in the training the mesh
is nearly the one that the moving average of the network finds on the unwarped face, so that the network need
not unlearn how faces differ. Sources: Thewlis et al. (ICCV 2017, arXiv 1705.02193); Jakab et al. (2018,
arXiv 1806.07823); the average as a teacher: Tarvainen and Valpola (NeurIPS 2017, arXiv 1703.01780).
"""

import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lafs_pipeline.faces.alignment import FACE_SIZE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork, mesh_landmarks
from lafs_pipeline.models.operations import landmark_operations
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.training.jobs import RunContext, train
from lafs_pipeline.training.loading import FaceSamples
from lafs_pipeline.training.parameter_groups import decay_groups
from lafs_pipeline.training.recipes.settings import WarpTrainingSettings
from lafs_pipeline.training.stage import Losses, MicroBatch, Progress
from lafs_pipeline.views.device import parameter_arrays, render_batch
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import ViewParameters, ViewSettings, draw_view_parameters
from lafs_pipeline.views.render import render_views
from lafs_pipeline.views.warps import WarpSettings, draw_warp, move_points, warp_images

APPEARANCE = ViewSettings(global_views=1, local_views=0, blur_probability=(0.5, 0.0, 0.0))
"""Colors and blur are those of pretraining's views, and half of the faces are mirrored."""
WHOLE = (0, 0, FACE_SIZE, FACE_SIZE)
TEACHER_WEIGHT = 0.9
"""Of the mesh that the average finds; the rest is the fixed mesh, without which nothing would hold the points
where they are: in 1,800 steps they drifted by 3 px in the mean and by 10 at most."""


class WarpedFaces(FaceSamples):
    """Faces and their warps by draws from (seed, epoch, index): a dict of arrays.

    `image` (H, W, 3) uint8 is the face, with the draws of its looks; `inverse` and `displacement` are its
    warp, and `points` (N, 2) pixels the mesh on it.

    Args:
        faces: n images.
        points: (N, 2) pixels of the mesh on the aligned face.
        options: the warps.
        seed: of the draws.
        on_device: leave the warping to the training device; else `warped` (H, W, 3) uint8 is there as well.
    """

    def __init__(
        self, faces: FaceImages, points: np.ndarray, options: WarpSettings, seed: int, on_device: bool
    ) -> None:
        super().__init__(faces)
        self.points, self.options = points, options
        self.seed, self.on_device = seed, on_device

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        epoch, index = draw
        image, generator = self.faces[index], random_generator(self.seed, "warps", epoch, index)
        look, warp = _draw_appearance(generator), draw_warp(self.options, FACE_SIZE, generator)
        sample = {"image": image, "points": self.points} | parameter_arrays(look)
        sample |= {"inverse": warp.inverse, "displacement": warp.displacement}
        if self.on_device:
            return sample
        changed = render_views(image, look, clean=False).global_appearance[0]
        return sample | {"warped": warp.apply(changed)}


def _draw_appearance(generator: np.random.Generator) -> ViewParameters:
    look = draw_view_parameters(APPEARANCE, FACE_SIZE, FACE_SIZE, generator)
    return replace(look, boxes=np.array([WHOLE], np.int64))


class LandmarkStage:
    """A landmark network that learns from warps.

    Raises:
        LafsError: the network's coordinates are scaled to span the image, which warped points do not.
    """

    name = "landmarks"
    losses_per_micro_batch = 1

    def __init__(self, network: LandmarkNetwork, options: WarpTrainingSettings) -> None:
        if network.coordinates != "free":
            raise LafsError(
                f"the landmark network has {network.coordinates} coordinates; learning from warps wants free "
                "ones, since a warped point may leave the image"
            )
        network.dropout.p = 0.0
        self.options = options
        self.trained = self.call = network

        def move(averages: list[Tensor], values: list[Tensor], seen: Tensor) -> None:
            if not averages[0].is_floating_point():
                torch._foreach_copy_(averages, values)
                return
            # A short training must not keep a share of the weights that it started from.
            share = float(1 - min(options.average, (1 + seen) / (10 + seen)))
            torch._foreach_lerp_(averages, values, share)

        average = AveragedModel(network, multi_avg_fn=move, use_buffers=True)
        self.modules, self.frozen = nn.ModuleDict({"network": network, "average": average}), nn.ModuleDict()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trunk and regressor, each with a learning rate of its own; 1-D parameters without weight decay."""
        decay = self.options.training.weight_decay
        groups = decay_groups(self.trained.features, decay)
        regressor = decay_groups(self.trained.regressor, decay)
        return [
            *({**group, "names": [f"features.{name}" for name in group["names"]]} for group in groups),
            *(
                {
                    **group,
                    "names": [f"regressor.{name}" for name in group["names"]],
                    "lr_scale": self.options.regressor_rate,
                }
                for group in regressor
            ),
        ]

    def compile(self) -> None:
        """Compile the network and its average."""
        self.trained.compile(dynamic=False)
        self.modules["average"].module.compile(dynamic=False)

    def operations(self) -> float:
        """Forward and backward pass of the network, and the forward passes of its average."""
        return (3 + 1 - self.options.teacher_start) * landmark_operations(self.trained)

    def losses(self, batch: dict[str, Tensor], part: MicroBatch) -> Losses:
        """Smooth L1 between predicted and moved points in pixels; points outside the image do not count."""
        points = batch["points"]
        if part.progress.fraction >= self.options.teacher_start:
            points = torch.lerp(points, self._fitted(batch), TEACHER_WEIGHT)
        target = move_points(points, batch["inverse"], batch["displacement"], FACE_SIZE)
        found = self.call(self._images(batch))
        inside = ((target >= 0) & (target <= FACE_SIZE)).all(dim=-1)
        # A mean over all points, not over those inside: micro-batches weigh alike.
        loss = (F.smooth_l1_loss(found, target, reduction="none").sum(dim=-1) * inside).mean()
        with torch.no_grad():
            distance = (found - target).norm(dim=-1)[inside].mean()
        yield loss, {"distance_px": distance}

    @torch.no_grad()
    def _fitted(self, batch: dict[str, Tensor]) -> Tensor:
        """The mesh as the average finds it on the unwarped faces, which are mirrored where the warped are."""
        faces = to_input(batch["image"])
        faces = torch.where(batch["flips"][:, :1, None, None], faces.flip(-1), faces)
        return self.modules["average"].eval()(faces)

    def _images(self, batch: dict[str, Tensor]) -> Tensor:
        if "warped" in batch:
            return to_input(batch["warped"])
        looks = render_batch(batch["image"], batch, APPEARANCE, clean=False).global_appearance
        return warp_images(looks, batch["inverse"], batch["displacement"])

    def before_update(self, progress: Progress) -> None:
        """Nothing to do."""

    def after_update(self, progress: Progress) -> None:
        """Move the average towards the network."""
        self.modules["average"].update_parameters(self.trained)

    def probe(self) -> dict[str, float]:
        """Nothing to measure but the loss."""
        return {}

    def pictures(self, progress: Progress) -> dict[str, Any]:
        """None."""
        return {}

    def diagnose(self, metrics: dict[str, float], progress: Progress) -> str | None:
        """Nothing is known to go wrong."""
        return None


@dataclass(frozen=True)
class LandmarkJob:
    """One training of a landmark network from warps."""

    model: LandmarkNetwork
    manifest: pd.DataFrame
    options: WarpTrainingSettings
    context: RunContext
    name: ClassVar[str] = LandmarkStage.name
    result: ClassVar[str] = "average.module."

    def stage(self) -> LandmarkStage:
        """The network and its average at the start."""
        return LandmarkStage(copy.deepcopy(self.model), self.options)

    def samples(self) -> WarpedFaces:
        """All faces, warped."""
        return WarpedFaces(
            FaceImages(self.manifest),
            mesh_landmarks(self.model.sizes["num_landmarks"]).numpy(),
            self.options.warp,
            self.context.seed,
            on_device=processes.local_device().type == "cuda",
        )


def train_landmarks(
    network: LandmarkNetwork, manifest: pd.DataFrame, options: WarpTrainingSettings, context: RunContext
) -> LandmarkNetwork:
    """Train a landmark network on faces without labels.

    Returns:
        The moving average of the network, in eval mode on the CPU.
    """
    return train(LandmarkJob(network, manifest, options, context))
