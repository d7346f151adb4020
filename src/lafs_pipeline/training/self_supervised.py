"""LAFS pretraining: DINO on patches cut at learned landmarks, or on the plain grid.

Source: LAFS (CVPR 2024, arXiv 2403.08161), section 3; DINO (arXiv 2104.14294).
"""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.dino_head import DINOHead
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.objectives.dino import TEACHER_VIEWS, DINOLoss, teacher_entropy
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed, random_generator
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.training.parameter_groups import decay_groups
from lafs_pipeline.training.probes import IdentityProbe
from lafs_pipeline.training.schedules import cosine_schedule, linear_schedule
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.training.stage import Progress
from lafs_pipeline.views.landmarks import perturb_landmarks, shuffle_landmarks, subset_landmarks
from lafs_pipeline.views.normalise import to_input
from lafs_pipeline.views.render import LafsViews
from lafs_pipeline.views.settings import ViewSettings


@settings
class PretrainSettings:
    """Self-supervised pretraining (LAFS section 3; defaults are the published recipe)."""

    tokens: Literal["landmarks", "grid"] = setting(
        "landmarks is LAFS; grid is plain DINO on the same transformer", "landmarks"
    )
    views: ViewSettings = setting("the views of an image", ViewSettings())
    prototypes: int = setting("K, the width of the DINO head's output", 100_000, ge=2)
    head_hidden_dim: int = setting("hidden width of the DINO head", 2048, ge=1)
    head_bottleneck_dim: int = setting("width of the DINO head before the prototypes", 256, ge=1)
    student_temperature: float = setting("student softmax temperature", 0.1, gt=0)
    teacher_temperature_start: float = setting("teacher softmax temperature in epoch 0", 0.07, gt=0)
    teacher_temperature: float = setting("teacher softmax temperature after its warm-up", 0.04, gt=0)
    teacher_temperature_epochs: int = setting("epochs between the two temperatures", 30, ge=0)
    center_momentum: float = setting("EMA of the teacher's centre", 0.9, ge=0, lt=1)
    teacher_momentum: float = setting(
        "EMA of the teacher's weights at the start; 1 at the end", 0.996, ge=0, le=1
    )
    teacher_mode: Literal["eval", "train"] = setting(
        "train leaves the teacher's dropout active, as the authors' code does", "eval"
    )
    freeze_last_layer_epochs: int = setting("epochs in which the prototypes stay as they are", 1, ge=0)
    probe_images: int = setting("labelled images of the k-NN probe; 0 leaves it out", 1000, ge=0)
    training: TrainingSettings = setting(
        "schedule and optimiser",
        TrainingSettings(
            epochs=41,
            batch_size=164,
            learning_rate=5e-4,
            reference_batch=256,
            warmup_epochs=10,
            weight_decay=0.04,
            final_weight_decay=0.4,
        ),
    )

    def __post_init__(self):
        if self.views.global_views != TEACHER_VIEWS:
            raise LafsError(
                f"views.global_views is {self.views.global_views}; DINO's teacher sees {TEACHER_VIEWS}"
            )
        if self.tokens == "landmarks" and self.views.local_size != self.views.size:
            raise LafsError(
                f"views.local_size is {self.views.local_size}; landmarks are found in views of "
                f"{self.views.size} pixels (smaller local views are for tokens: grid)"
            )


class PretrainSamples(Dataset):
    """Ten views of an image, drawn from (seed, epoch, index): dicts of uint8 arrays (views, H, W, 3)."""

    def __init__(self, faces: FaceImages, views: LafsViews, seed: int) -> None:
        self.faces, self.views, self.seed = faces, views, seed

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        epoch, index = draw
        views = self.views(self.faces[index], random_generator(self.seed, "views", epoch, index))
        copies = {"global": views.global_appearance, "local": views.local_appearance}
        copies |= {"global_clean": views.global_clean, "local_clean": views.local_clean}
        return {name: copy for name, copy in copies.items() if copy is not None}


def _view_major(views: Tensor) -> Tensor:
    """(B, V, H, W, 3) uint8 -> (V * B, 3, H, W) in [-1, 1], the B images of view 0 first."""
    return to_input(views.transpose(0, 1).flatten(0, 1))


@torch.no_grad()
def view_landmarks(
    network: LandmarkNetwork, whole: Tensor, local: Tensor, options: ViewSettings, seed: int
) -> tuple[Tensor, Tensor]:
    """The landmarks at which the views' patches are cut (LAFS, section 3.2 and 3.3).

    Args:
        network: frozen, in eval mode.
        whole: clean global views (n, 3, 112, 112).
        local: clean local views (m, 3, 112, 112).
        options: noise and subsets.
        seed: of the draws.

    Returns:
        (n, N, 2) and (m, k, 2) pixels.
    """
    generator = torch.Generator(whole.device).manual_seed(derive_seed(seed, "landmarks"))
    stacked = torch.cat((whole, local)).contiguous(memory_format=torch.channels_last)
    landmarks = perturb_landmarks(network(stacked), options.landmark_sigma, generator)
    whole_points, local_points = landmarks.split([len(whole), len(local)])
    if options.shuffle_global:
        whole_points = shuffle_landmarks(whole_points, generator)
    return whole_points, subset_landmarks(
        local_points, options.local_landmarks, generator, options.with_replacement
    )


class SelfSupervisedStage:
    """Student, teacher and centre of one pretraining.

    Args:
        model: gives the transformer's start and, with landmarks, the frozen landmark network.
        options: the objective's settings.
        total_steps: length of the schedules.
        steps_per_epoch: for settings given in epochs.
        probe: measures the teacher, where labelled images are at hand.
    """

    name = "pretrain"

    def __init__(
        self,
        model: PartFViT | FViT,
        options: PretrainSettings,
        total_steps: int,
        steps_per_epoch: int,
        probe: IdentityProbe | None,
    ) -> None:
        self.options, self.probe_set = options, probe
        head = DINOHead(
            model.transformer.dim, options.prototypes, options.head_hidden_dim, options.head_bottleneck_dim
        )
        self.student = nn.ModuleDict({"model": model, "head": head})
        if isinstance(model, PartFViT):
            model.landmark_network.requires_grad_(False)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.criterion = DINOLoss(options.prototypes, options.student_temperature, options.center_momentum)
        self.modules = nn.ModuleDict(
            {"student": self.student, "teacher": self.teacher, "criterion": self.criterion}
        )
        warmup = min(options.teacher_temperature_epochs * steps_per_epoch, total_steps)
        self.temperature = linear_schedule(
            options.teacher_temperature_start, options.teacher_temperature, total_steps, warmup
        )
        self.momentum = cosine_schedule(options.teacher_momentum, 1.0, total_steps)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The student's; biases and 1-D parameters without weight decay."""
        return decay_groups(self.student, self.options.training.weight_decay)

    def loss(
        self, batch: dict[str, Tensor], progress: Progress, seed: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """DINO loss of a batch of views; the teacher sees the global ones."""
        self.teacher.train(self.options.teacher_mode == "train")
        self.student["model"].train()
        if isinstance(self.student["model"], PartFViT):
            self.student["model"].landmark_network.eval()
            self.teacher["model"].landmark_network.eval()
        global_inputs, local_inputs = self._inputs(batch, seed)
        temperature = float(self.temperature[progress.step])
        with torch.no_grad():
            teacher_logits = self.teacher["head"](self._embed(self.teacher, global_inputs))
        embeddings = torch.cat([self._embed(self.student, part) for part in (global_inputs, local_inputs)])
        student_logits = self.student["head"](embeddings)
        entropy = teacher_entropy(teacher_logits, self.criterion.center, temperature)
        loss = self.criterion(student_logits, teacher_logits, temperature)
        metrics = {
            "teacher_entropy": entropy,
            "teacher_temperature": torch.tensor(temperature),
            "teacher_momentum": torch.tensor(float(self.momentum[progress.step])),
        }
        return loss, metrics

    def _embed(self, network: nn.ModuleDict, inputs: Tensor) -> Tensor:
        model = network["model"]
        return model.encode(inputs) if isinstance(model, PartFViT) else model(inputs)

    def _inputs(self, batch: dict[str, Tensor], seed: int) -> tuple[Tensor, Tensor]:
        """What the transformer embeds, global then local, view-major: tokens, or images for the grid."""
        appearances = [_view_major(batch[kind]) for kind in ("global", "local")]
        if self.options.tokens == "grid":
            return appearances[0], appearances[1]
        clean = [_view_major(batch[f"{kind}_clean"]) for kind in ("global", "local")]
        landmarks = view_landmarks(self.student["model"].landmark_network, *clean, self.options.views, seed)
        patch_size = self.student["model"].patch_size
        whole, local = (
            sample_patches(images, points, patch_size)
            for images, points in zip(appearances, landmarks, strict=True)
        )
        return whole, local

    def before_update(self, progress: Progress) -> None:
        """Keep the prototypes as they are in the first epochs (DINO)."""
        if progress.epoch < self.options.freeze_last_layer_epochs:
            for parameter in self.student["head"].last_layer.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_update(self, progress: Progress) -> None:
        """Move the teacher towards the student."""
        weight = 1.0 - float(self.momentum[progress.step])
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), weight)

    def probe(self) -> dict[str, float]:
        """k-NN accuracy and spread of the teacher's embeddings."""
        if self.probe_set is None:
            return {}
        device = next(self.teacher.parameters()).device
        return self.probe_set.measure(self.teacher["model"], device)

    def result(self) -> PartFViT | FViT:
        """The teacher's model: the frozen landmark network and the pretrained transformer."""
        return self.teacher["model"]
