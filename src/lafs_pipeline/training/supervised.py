"""Supervised face recognition with a margin loss: stage 1 of LAFS and the adaptation after pretraining.

Source: Part fViT (arXiv 2212.00057), section 4; LAFS (arXiv 2403.08161), section 3.4 and 4.1.
"""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork, frozen_network
from lafs_pipeline.models.operations import embedding_operations, landmark_operations, timm_operations
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.models.timm_model import FaceModel, TimmModel
from lafs_pipeline.objectives.landmarks import landmark_regularizer, landmark_weight
from lafs_pipeline.objectives.margin import HEADS, MarginHead, MixedLabels
from lafs_pipeline.objectives.partial_fc import PartialFC
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.row_shards import RowShard
from lafs_pipeline.runtime.seeding import derive_seed, random_generator
from lafs_pipeline.training.loading import FaceSamples
from lafs_pipeline.training.monitoring.health import spread_warning
from lafs_pipeline.training.monitoring.probes import IdentityProbe
from lafs_pipeline.training.parameter_groups import freeze, layer_decay_groups
from lafs_pipeline.training.recipes.settings import RecognitionSettings
from lafs_pipeline.training.stage import Losses, MicroBatch, Progress
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.supervised import SupervisedAugmentation, mixup

SHOWN_FACES = 12
"""In a picture of the landmarks."""
DrawLandmarks = Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray]
"""Faces (n, H, W, 3), landmarks (n, N, 2) in pixels by title -> picture (H, W, 3); can be pickled."""


class RecognitionSamples(FaceSamples):
    """An augmented image and its label, drawn from (seed, epoch, index)."""

    def __init__(
        self, faces: FaceImages, labels: np.ndarray, augmentation: SupervisedAugmentation, seed: int
    ) -> None:
        super().__init__(faces)
        self.labels, self.augmentation, self.seed = labels, augmentation, seed

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        epoch, index = draw
        generator = random_generator(self.seed, "augmentation", epoch, index)
        return {
            "image": self.augmentation(self.faces[index], generator),
            "label": int(self.labels[index]),
        }


def moves_landmarks(model: PartFViT) -> bool:
    """Whether the landmark network is trained."""
    return any(weight.requires_grad for weight in model.landmark_network.parameters())


class Encoder(nn.Module):
    """A face model that also tells the landmarks it looks at."""

    def __init__(self, model: FaceModel) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen landmark network stays as it is, its BatchNorm statistics included."""
        super().train(mode)
        if isinstance(self.model, PartFViT) and not moves_landmarks(self.model):
            self.model.landmark_network.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings (B, dim), and landmarks (B, N, 2) where the model has them."""
        if not isinstance(self.model, PartFViT):
            return self.model(images), None
        landmarks = self.model.landmarks(images)
        return self.model.encode(sample_patches(images, landmarks, self.model.patch_size)), landmarks


class Recognizer(Encoder):
    """A face model and the class matrix of its margin loss."""

    def __init__(self, model: FaceModel, head: MarginHead) -> None:
        super().__init__(model)
        self.head = head

    def forward(self, images: Tensor, labels: MixedLabels) -> tuple[Tensor, Tensor | None]:
        """Mean margin loss, and landmarks (B, N, 2) where the model has them."""
        embeddings, landmarks = super().forward(images)
        return self.head.loss(embeddings, labels), landmarks


class RecognitionStage:
    """A face model trained to tell identities apart.

    A class matrix that is sharded over the processes stands beside what they train in common: its gradients
    are not averaged over them.

    Raises:
        LafsError: more blocks are to be frozen than the model has.
    """

    losses_per_micro_batch = 1

    def __init__(
        self,
        name: str,
        model: FaceModel,
        classes: int,
        options: RecognitionSettings,
        reference: LandmarkNetwork | None,
        probe: IdentityProbe | None,
        draw: DrawLandmarks | None = None,
    ) -> None:
        self.name, self.options, self.probe_set, self.draw = name, options, probe, draw
        self.class_count = classes
        model.transformer.set_grad_checkpointing(options.training.recompute_activations)
        shard = RowShard.own(classes) if options.shards_classes() else None
        head = HEADS[options.loss](
            model.transformer.num_features, classes, options.scale, options.margin, shard
        )
        freeze(model, options.freeze_landmark_network, options.freeze_blocks)
        self.classes = None if shard is None else PartialFC(head, options.class_sample_rate)
        self.trained = self.call = Recognizer(model, head) if shard is None else Encoder(model)
        self.modules = nn.ModuleDict({"recognizer": self.trained})
        if self.classes is not None:
            self.modules["classes"] = self.classes
        is_free = isinstance(model, PartFViT) and moves_landmarks(model)
        self.frozen = nn.ModuleDict()
        if is_free and options.landmark_regularization > 0 and reference is not None:
            self.frozen["reference"] = frozen_network(reference)
        self.modules.train()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Layer-wise groups of model and class matrix."""
        return layer_decay_groups(
            self.modules,
            self.options.training.weight_decay,
            self.options.layer_decay,
            self.options.landmark_weight_decay,
        )

    def compile(self) -> None:
        """Compile the model, and its head where that is whole; no BatchNorm that processes share."""
        model = self.trained.model
        shared = processes.in_group() and isinstance(model, PartFViT) and moves_landmarks(model)
        (model.transformer if shared else self.trained).compile(dynamic=False)

    def operations(self) -> float:
        """Forward and backward pass of model and class matrix."""
        model, options = self.trained.model, self.options
        if isinstance(model, TimmModel):
            forward = timm_operations(model)
        else:
            forward = embedding_operations(model, model.transformer.positions.shape[1] - 1)
        if isinstance(model, PartFViT):
            forward += landmark_operations(model.landmark_network)
        compared = options.class_sample_rate * self.class_count
        return 3 * (forward + 2 * model.transformer.num_features * compared)

    def losses(self, batch: dict[str, Tensor], part: MicroBatch) -> Losses:
        """Cross-entropy of the margin logits, plus the landmark regularizer."""
        images, weight = mixup(
            to_input(batch["image"]),
            self.options.augmentation.mixup_alpha,
            self.options.augmentation.mixup_probability,
            random_generator(part.seed, "mixup"),
        )
        labels = MixedLabels(batch["label"])
        if weight < 1:
            labels = MixedLabels(labels.labels, labels.labels.flip(0), images.new_full((), weight))
        loss, landmarks = self._loss(images, labels, part)
        metrics = {}
        if "reference" in self.frozen:
            weight = self.options.landmark_regularization * landmark_weight(part.progress.fraction)
            if weight > 0:
                with torch.no_grad():
                    near = self.frozen["reference"](images)
                distance = landmark_regularizer(landmarks, near)
                loss = loss + weight * distance
                metrics["landmark_distance"] = distance.detach()
        yield loss, metrics

    def _loss(self, images: Tensor, labels: MixedLabels, part: MicroBatch) -> tuple[Tensor, Tensor | None]:
        if self.classes is None:
            return self.call(images, labels)
        embeddings, landmarks = self.call(images)
        return self.classes(embeddings, labels, derive_seed(part.seed, "classes")), landmarks

    def before_update(self, progress: Progress) -> None:
        """Nothing to do."""

    def after_update(self, progress: Progress) -> None:
        """Nothing to do."""

    def probe(self) -> dict[str, float]:
        """k-NN accuracy and spread of the embeddings."""
        if self.probe_set is None:
            return {}
        return self.probe_set.measure(self.trained.model, next(self.trained.parameters()).device)

    @torch.inference_mode()
    def pictures(self, progress: Progress) -> dict[str, np.ndarray]:
        """Landmarks on faces of the probe, where the model finds them."""
        model = self.trained.model
        if self.probe_set is None or self.draw is None or not isinstance(model, PartFViT):
            return {}
        images = self.probe_set.shown(SHOWN_FACES)
        device = next(model.parameters()).device
        landmarks = model.landmarks(to_input(torch.from_numpy(images).to(device))).float().cpu().numpy()
        return {"landmarks": self.draw(images, {f"{self.name}, epoch {progress.epoch + 1}": landmarks})}

    def diagnose(self, metrics: dict[str, float], progress: Progress) -> str | None:
        """Embeddings that become one."""
        return spread_warning(metrics, progress.step)
