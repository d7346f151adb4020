"""Supervised face recognition with a margin loss: stage 1 of LAFS and the adaptation after pretraining.

Source: Part fViT (arXiv 2212.00057), section 4; LAFS (arXiv 2403.08161), section 3.4 and 4.1.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.landmark_plot import plot_landmarks
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.objectives.landmarks import landmark_regulariser, landmark_weight
from lafs_pipeline.objectives.margin import CosFace
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.training.health import spread_warning
from lafs_pipeline.training.parameter_groups import layer_decay_groups
from lafs_pipeline.training.probes import IdentityProbe
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.training.stage import Part, Progress
from lafs_pipeline.views.normalise import to_input
from lafs_pipeline.views.supervised import AugmentationSettings, SupervisedAugmentation, mixup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_FACES = 12
"""In a picture of the landmarks."""


@settings
class RecognitionSettings:
    """Margin-loss training on identity labels (defaults are the published adaptation)."""

    scale: float = setting("CosFace scale s", 64.0, gt=0)
    margin: float = setting("CosFace margin m", 0.4, ge=0, lt=1)
    augmentation: AugmentationSettings = setting("augmentation of an image", AugmentationSettings())
    landmark_regularisation: float = setting(
        "factor on the weight that ties landmarks to those of stage 1; 0 leaves them free", 1.0, ge=0
    )
    layer_decay: float = setting(
        "learning-rate factor from layer to layer; 1 is one rate for all", 0.58, gt=0, le=1
    )
    landmark_weight_decay: float = setting("weight decay in the trunk of the landmark network", 0.05, ge=0)
    probe_images: int = setting("labelled images of the k-NN probe; 0 leaves it out", 1000, ge=0)
    training: TrainingSettings = setting(
        "schedule and optimiser",
        TrainingSettings(
            epochs=34,
            batch_size=1200,
            accumulation=3,
            learning_rate=2.1e-3,
            reference_batch=1008,
            batch_scaling="sqrt",
            warmup_epochs=5,
            weight_decay=0.1,
            clip_norm=None,
        ),
    )


class RecognitionSamples(Dataset):
    """An augmented image and its label, drawn from (seed, epoch, index)."""

    def __init__(
        self, faces: FaceImages, labels: np.ndarray, augmentation: SupervisedAugmentation, seed: int
    ) -> None:
        self.faces, self.labels, self.augmentation, self.seed = faces, labels, augmentation, seed

    def __len__(self) -> int:
        return len(self.faces)

    def key(self, index: int) -> str:
        """The manifest's key of an image."""
        return self.faces.keys[index]

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        epoch, index = draw
        generator = random_generator(self.seed, "augmentation", epoch, index)
        return {
            "image": self.augmentation(self.faces[index], generator),
            "label": int(self.labels[index]),
        }


class Recogniser(nn.Module):
    """A face model and the class matrix of its margin loss."""

    def __init__(self, model: PartFViT | FViT, head: CosFace) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Margin logits (B, classes), and landmarks (B, N, 2) where the model has them."""
        if not isinstance(self.model, PartFViT):
            return self.head(self.model(images), targets), None
        landmarks = self.model.landmarks(images)
        embeddings = self.model.encode(sample_patches(images, landmarks, self.model.patch_size))
        return self.head(embeddings, targets), landmarks


class RecognitionStage:
    """A face model trained to tell identities apart.

    Args:
        name: of the stage, as it appears in progress and logs.
        model: what is trained, as a whole.
        classes: number of identities.
        options: the objective's settings.
        reference: frozen landmark network that the landmarks stay near; None leaves them free.
        probe: measures the model, where given.
    """

    partial_losses = 1

    def __init__(
        self,
        name: str,
        model: PartFViT | FViT,
        classes: int,
        options: RecognitionSettings,
        reference: LandmarkNetwork | None,
        probe: IdentityProbe | None,
    ) -> None:
        self.name, self.classes, self.options, self.probe_set = name, classes, options, probe
        model.transformer.recompute = options.training.recompute_activations
        head = CosFace(model.transformer.dim, classes, options.scale, options.margin)
        self.trained = self.call = Recogniser(model.requires_grad_(True), head)
        self.modules = nn.ModuleDict({"recogniser": self.trained})
        has_landmarks = isinstance(model, PartFViT) and options.landmark_regularisation > 0
        self.reference = reference if has_landmarks else None
        if self.reference is not None:
            self.reference.eval().requires_grad_(False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Layer-wise groups of model and class matrix."""
        return layer_decay_groups(
            self.modules,
            self.options.training.weight_decay,
            self.options.layer_decay,
            self.options.landmark_weight_decay,
        )

    def compile(self) -> None:
        """Compile model and head."""
        self.trained.compile(dynamic=False)

    def losses(self, batch: dict[str, Tensor], part: Part) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Soft-target cross-entropy of the margin logits, plus the landmark regulariser."""
        images, targets = mixup(
            to_input(batch["image"]),
            F.one_hot(batch["label"], self.classes).float(),
            self.options.augmentation.mixup_alpha,
            self.options.augmentation.mixup_probability,
            random_generator(part.seed, "mixup"),
        )
        logits, landmarks = self.call(images, targets)
        loss, metrics = F.cross_entropy(logits, targets), {}
        if self.reference is not None:
            weight = self.options.landmark_regularisation * landmark_weight(part.progress.fraction)
            if weight > 0:
                self.reference.to(images.device)
                with torch.no_grad():
                    near = self.reference(images)
                distance = landmark_regulariser(landmarks, near)
                loss = loss + weight * distance
                metrics["landmark_distance"] = distance.detach()
        yield loss, metrics

    def before_update(self, progress: Progress) -> None:
        """Nothing to do."""

    def after_update(self, progress: Progress) -> None:
        """Nothing to do."""

    def result(self) -> PartFViT | FViT:
        """The trained model."""
        return self.trained.model

    def probe(self) -> dict[str, float]:
        """k-NN accuracy and spread of the embeddings."""
        if self.probe_set is None:
            return {}
        return self.probe_set.measure(self.trained.model, next(self.trained.parameters()).device)

    @torch.inference_mode()
    def pictures(self, progress: Progress) -> "dict[str, Figure]":
        """Landmarks on faces of the probe, where the model finds them."""
        model = self.trained.model
        if self.probe_set is None or not isinstance(model, PartFViT):
            return {}
        images = self.probe_set.shown(SHOWN_FACES)
        device = next(model.parameters()).device
        landmarks = model.landmarks(to_input(torch.from_numpy(images).to(device))).float().cpu().numpy()
        return {"landmarks": plot_landmarks(images, landmarks, f"{self.name}, epoch {progress.epoch + 1}")}

    def diagnose(self, metrics: dict[str, float], progress: Progress) -> str | None:
        """Embeddings that become one."""
        return spread_warning(metrics)
