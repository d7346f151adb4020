"""LAFS pretraining: DINO on patches cut at learned landmarks, or on the plain grid.

Source: LAFS (CVPR 2024, arXiv 2403.08161), section 3; DINO (arXiv 2104.14294).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.dino_head import DINOHead
from lafs_pipeline.models.embedding import Embeddings
from lafs_pipeline.models.landmark_network import frozen_network
from lafs_pipeline.models.operations import embedding_operations, landmark_operations
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.objectives.dino import TEACHER_VIEWS, DINOLoss, teacher_entropy
from lafs_pipeline.objectives.koleo import koleo_loss
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.training.loading import FaceSamples
from lafs_pipeline.training.monitoring.health import entropy_warning, spread_warning
from lafs_pipeline.training.monitoring.probes import IdentityProbe
from lafs_pipeline.training.parameter_groups import decay_groups
from lafs_pipeline.training.recipes.settings import PretrainSettings
from lafs_pipeline.training.schedules import cosine_schedule, linear_schedule
from lafs_pipeline.training.stage import Losses, MicroBatch, Progress
from lafs_pipeline.training.view_landmarks import (
    TokenLandmarks,
    augment_landmarks,
    move_landmarks,
    predict_landmarks,
)
from lafs_pipeline.views.device import ViewBatch, parameter_arrays, render_batch
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import draw_view_parameters
from lafs_pipeline.views.render import LafsViews


@dataclass(frozen=True, eq=False)
class CachedLandmarks:
    """Landmarks (2, N, 2) of a face and of its mirror image, in pixels, by its row in the manifest.

    Attributes:
        vectors: (m, 4N) float32, memory-mapped: x and y of the face's landmarks, then of the mirror image's.
        rows: (n,) where in `vectors` each face of the manifest stands.
    """

    vectors: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, manifest: pd.DataFrame, landmarks: Embeddings) -> "CachedLandmarks":
        """The landmarks of a manifest's faces.

        Raises:
            LafsError: some face has none.
        """
        known = pa.array(landmarks.rows.index, pa.large_string())
        rows = pc.index_in(pa.array(manifest["key"], pa.large_string()), value_set=known)
        if rows.null_count:
            raise LafsError(
                f"{rows.null_count} of {len(rows)} training faces have no cached landmarks; first run: kedro "
                "run --pipelines=landmarks with landmarks.extract: train"
            )
        return cls(landmarks.vectors, rows.to_numpy())

    def __getitem__(self, index: int) -> np.ndarray:
        return np.array(self.vectors[self.rows[index]]).reshape(2, -1, 2)


class PretrainSamples(FaceSamples):
    """What the views of an image are made of, drawn from (seed, epoch, index); a dict of arrays.

    Args:
        faces: n images.
        options: which views, and what they need.
        seed: of the draws.
        on_device: give uint8 image (H, W, 3) and draws, to be rendered on the training device, instead of
            views (V, H, W, 3).
        landmarks: of the images, where they are not found in every view.
    """

    def __init__(
        self,
        faces: FaceImages,
        options: PretrainSettings,
        seed: int,
        on_device: bool,
        landmarks: CachedLandmarks | None,
    ) -> None:
        super().__init__(faces)
        self.options, self.seed = options.views, seed
        self.on_device, self.landmarks = on_device, landmarks
        self.views = LafsViews(options.views, clean=options.needs_clean_views())

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        epoch, index = draw
        image, generator = self.faces[index], random_generator(self.seed, "views", epoch, index)
        if self.on_device:
            parameters = draw_view_parameters(self.options, *image.shape[:2], generator)
            sample = {"image": image, **parameter_arrays(parameters)}
        else:
            views = self.views(image, generator)
            sample = {"global": views.global_appearance, "local": views.local_appearance}
            if views.global_clean is not None:
                sample |= {"global_clean": views.global_clean, "local_clean": views.local_clean}
            if self.landmarks is not None:
                sample |= {"boxes": views.parameters.boxes, "flips": views.parameters.flips}
        return sample if self.landmarks is None else sample | {"landmarks": self.landmarks[index]}


def _view_major(views: Tensor) -> Tensor:
    """(B, V, H, W, 3) uint8 -> (V * B, 3, H, W) in [-1, 1], the B images of view 0 first."""
    return to_input(views.transpose(0, 1).flatten(0, 1))


class StudentTeacherMember(nn.Module):
    """A face model and its DINO head: tokens, or images for the grid, -> logits (B, K), embeddings (B, dim).

    Attributes:
        trains: whether dropout and stochastic depth are active in training; the landmark network's never is.
    """

    def __init__(self, model: PartFViT | FViT, head: DINOHead) -> None:
        super().__init__()
        self.model, self.head, self.trains = model, head, True

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as far as this member follows it."""
        super().train(mode and self.trains)
        if isinstance(self.model, PartFViT):
            self.model.landmark_network.eval()
        return self

    def forward(self, inputs: Tensor, indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed and project; `indices` (B, n) as :meth:`PartFViT.encode` takes them."""
        model = self.model
        embeddings = model.encode(inputs, indices) if isinstance(model, PartFViT) else model(inputs)
        return self.head(embeddings), embeddings


class SelfSupervisedStage:
    """Student, teacher and center of one pretraining."""

    name = "pretrain"

    def __init__(
        self,
        model: PartFViT | FViT,
        options: PretrainSettings,
        total_steps: int,
        steps_per_epoch: int,
        probe: IdentityProbe | None,
        show_views: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self.options, self.probe_set, self.show_views = options, probe, show_views
        model.transformer.recompute = options.training.recompute_activations
        head = DINOHead(
            model.transformer.dim, options.prototypes, options.head_hidden_dim, options.head_bottleneck_dim
        )
        self.student = self.trained = self.call = StudentTeacherMember(model, head)
        self.frozen = nn.ModuleDict()
        if isinstance(model, PartFViT):
            model.landmark_network.requires_grad_(False)
            self.landmark_network = frozen_network(model.landmark_network)
            self.frozen["landmark_network"] = self.landmark_network
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher.trains = options.teacher_mode == "train"
        self.criterion = DINOLoss(options.prototypes, options.student_temperature, options.center_momentum)
        self.modules = nn.ModuleDict(
            {"student": self.student, "teacher": self.teacher, "criterion": self.criterion}
        )
        self.views = TEACHER_VIEWS + options.views.local_views
        self.modules.train()
        self.losses_per_micro_batch = TEACHER_VIEWS + (options.views.local_views > 0)
        self.teacher_means: list[Tensor] = []
        warmup = min(options.teacher_temperature_epochs * steps_per_epoch, total_steps)
        self.temperature = linear_schedule(
            options.teacher_temperature_start, options.teacher_temperature, total_steps, warmup
        )
        self.momentum = cosine_schedule(options.teacher_momentum, 1.0, total_steps)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The student's; biases and 1-D parameters without weight decay."""
        return decay_groups(self.student, self.options.training.weight_decay)

    def compile(self) -> None:
        """Compile student, teacher and the landmark network that both look through."""
        if "landmark_network" in self.frozen:
            self.frozen["landmark_network"].compile(dynamic=False)
        self.student.compile(dynamic=False)
        self.teacher.compile(dynamic=False)

    def operations(self) -> float:
        """Student forward and backward on all views, teacher on the global ones, landmarks in all views."""
        model, views = self.student.model, self.options.views
        whole = embedding_operations(model, self._token_count(views.size, None))
        local = embedding_operations(model, self._token_count(views.local_size, views.local_landmarks))
        head = 2 * sum(weight.numel() for weight in self.student.head.parameters() if weight.ndim > 1)
        student = TEACHER_VIEWS * whole + views.local_views * local + self.views * head
        found = (
            self.views * landmark_operations(self.landmark_network) if self.options.needs_clean_views() else 0
        )
        return 3 * student + TEACHER_VIEWS * (whole + head) + found

    def _token_count(self, size: int, landmarks: int | None) -> int:
        model = self.student.model
        if isinstance(model, PartFViT):
            return landmarks or model.transformer.positions.shape[1] - 1
        return (size // model.patch_size) ** 2

    def losses(self, batch: dict[str, Tensor], part: MicroBatch) -> Losses:
        """DINO's loss in three parts: that of each global view, and that of all local views.

        A loss of one view needs the activations of that view alone. Each global view adds KoLeo's penalty,
        whose neighbors are looked for among the images of the micro-batch (as DINOv2: those of one process).
        """
        whole, local = self._inputs(batch, part)
        temperature = float(self.temperature[part.progress.step])
        with torch.inference_mode():
            logits, _ = self.teacher(*whole)
            targets = self.criterion.targets(logits, temperature)
            metrics: dict[str, Tensor | float] = {
                "teacher_entropy": teacher_entropy(targets),
                "teacher_temperature": temperature,
                "teacher_momentum": float(self.momentum[part.progress.step]),
            }
            mean = logits.float().mean(dim=0, keepdim=True)
        self.teacher_means.append(mean.clone())
        views = (*zip(*(value.chunk(TEACHER_VIEWS) for value in whole), strict=True), local)
        for first_view, inputs in enumerate(views[: self.losses_per_micro_batch]):
            logits, embeddings = self.call(*inputs)
            loss = self.criterion.partial(logits, targets, first_view, self.views)
            if self.options.koleo_weight and first_view < TEACHER_VIEWS:
                koleo = koleo_loss(embeddings)
                metrics["koleo"] = metrics.get("koleo", 0.0) + koleo.detach() / TEACHER_VIEWS
                loss = loss + self.options.koleo_weight * koleo
            yield loss, metrics

    def _inputs(
        self, batch: dict[str, Tensor], part: MicroBatch
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What :class:`StudentTeacherMember` takes of the global and of the local views, all view-major."""
        views = self._views(batch)
        if not self.options.with_landmarks():
            return (views.global_appearance,), (views.local_appearance,)
        if self.options.landmarks == "cached":
            landmarks = move_landmarks(
                batch["landmarks"], batch["boxes"], batch["flips"], self.options.views.size
            )
        else:
            clean = torch.cat((views.global_clean, views.local_clean))
            landmarks = predict_landmarks(self.landmark_network, clean)
        whole, local = augment_landmarks(landmarks, self.options.views, part)
        return self._tokens(views.global_appearance, whole), self._tokens(views.local_appearance, local)

    def _tokens(self, images: Tensor, landmarks: TokenLandmarks) -> tuple[Tensor, ...]:
        """Patches, and the landmarks whose positions they get where these are not those of the order."""
        tokens = sample_patches(images, landmarks.points, self.student.model.patch_size)
        by_order = landmarks.indices is None or self.options.views.token_positions == "order"
        return (tokens,) if by_order else (tokens, landmarks.indices)

    def _views(self, batch: dict[str, Tensor]) -> ViewBatch:
        """The views of a batch, rendered here or by the loader."""
        clean = self.options.needs_clean_views()
        if "image" in batch:
            return render_batch(batch["image"], batch, self.options.views, clean)
        kinds = ("global", "local", "global_clean", "local_clean")
        return ViewBatch(*(_view_major(batch[kind]) if kind in batch else None for kind in kinds))

    def before_update(self, progress: Progress) -> None:
        """Keep the prototypes as they are in the first epochs (DINO)."""
        if progress.epoch < self.options.freeze_last_layer_epochs:
            for parameter in self.student.head.last_layer.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_update(self, progress: Progress) -> None:
        """Move the teacher towards the student, and the center towards the teacher's mean output."""
        weight = 1.0 - float(self.momentum[progress.step])
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), weight)
        self.criterion.update_center(torch.stack(self.teacher_means).mean(dim=0))
        self.teacher_means.clear()

    def probe(self) -> dict[str, float]:
        """k-NN accuracy and spread of the teacher's embeddings."""
        if self.probe_set is None:
            return {}
        device = next(self.teacher.parameters()).device
        return self.probe_set.measure(self.teacher.model, device)

    def pictures(self, progress: Progress) -> dict[str, np.ndarray]:
        """The views of one face, as drawn in this epoch."""
        return {} if self.show_views is None else {"views": self.show_views(progress.epoch)}

    def diagnose(self, metrics: dict[str, float], progress: Progress) -> str | None:
        """A teacher or embeddings about to collapse."""
        teacher = entropy_warning(metrics, self.options.prototypes, progress.step, progress.fraction)
        return teacher or spread_warning(metrics, progress.step)
