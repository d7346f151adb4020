"""Supervised face recognition with a margin loss: stage 1 of LAFS and the adaptation after pretraining.

Source: Part fViT (arXiv 2212.00057), section 4; LAFS (arXiv 2403.08161), section 3.4 and 4.1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork, frozen_network
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.objectives.landmarks import landmark_regularizer, landmark_weight
from lafs_pipeline.objectives.margin import HEADS, MarginHead, MixedLabels
from lafs_pipeline.objectives.partial_fc import PartialFC
from lafs_pipeline.runtime.row_shards import RowShard
from lafs_pipeline.runtime.seeding import derive_seed, random_generator
from lafs_pipeline.training.health import spread_warning
from lafs_pipeline.training.loading import FaceSamples
from lafs_pipeline.training.parameter_groups import freeze, layer_decay_groups
from lafs_pipeline.training.probes import IdentityProbe
from lafs_pipeline.training.recipe_settings import RecognitionSettings
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


class Encoder(nn.Module):
    """A face model that also tells the landmarks it looks at."""

    def __init__(self, model: PartFViT | FViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings (B, dim), and landmarks (B, N, 2) where the model has them."""
        if not isinstance(self.model, PartFViT):
            return self.model(images), None
        landmarks = self.model.landmarks(images)
        return self.model.encode(sample_patches(images, landmarks, self.model.patch_size)), landmarks


class Recognizer(Encoder):
    """A face model and the class matrix of its margin loss."""

    def __init__(self, model: PartFViT | FViT, head: MarginHead) -> None:
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

    Args:
        name: of the stage, as it appears in progress and logs.
        model: what is trained, as a whole.
        classes: number of identities.
        options: the objective's settings.
        reference: frozen landmark network that the landmarks stay near; None leaves them free.
        probe: measures the model, where given.
        draw: draws landmarks on faces of the probe.

    Raises:
        LafsError: more blocks are to be frozen than the model has.
    """

    losses_per_micro_batch = 1

    def __init__(
        self,
        name: str,
        model: PartFViT | FViT,
        classes: int,
        options: RecognitionSettings,
        reference: LandmarkNetwork | None,
        probe: IdentityProbe | None,
        draw: DrawLandmarks | None = None,
    ) -> None:
        self.name, self.options, self.probe_set, self.draw = name, options, probe, draw
        model.transformer.recompute = options.training.recompute_activations
        shard = RowShard.own(classes) if options.shards_classes() else None
        head = HEADS[options.loss](model.transformer.dim, classes, options.scale, options.margin, shard)
        freeze(model, options.freeze_landmark_network, options.freeze_blocks)
        self.classes = None if shard is None else PartialFC(head, options.class_sample_rate)
        self.trained = self.call = Recognizer(model, head) if shard is None else Encoder(model)
        self.modules = nn.ModuleDict({"recognizer": self.trained})
        if self.classes is not None:
            self.modules["classes"] = self.classes
        moves_landmarks = isinstance(model, PartFViT) and not options.freeze_landmark_network
        is_held = moves_landmarks and options.landmark_regularization > 0
        self.reference = frozen_network(reference) if is_held and reference is not None else None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Layer-wise groups of model and class matrix."""
        return layer_decay_groups(
            self.modules,
            self.options.training.weight_decay,
            self.options.layer_decay,
            self.options.landmark_weight_decay,
        )

    def compile(self) -> None:
        """Compile the model, and its head where that is whole."""
        self.trained.compile(dynamic=False)

    def losses(self, batch: dict[str, Tensor], part: MicroBatch) -> Losses:
        """Cross-entropy of the margin logits, plus the landmark regularizer."""
        if self.options.freeze_landmark_network and isinstance(self.trained.model, PartFViT):
            self.trained.model.landmark_network.eval()
        images, weight = mixup(
            to_input(batch["image"]),
            self.options.augmentation.mixup_alpha,
            self.options.augmentation.mixup_probability,
            random_generator(part.seed, "mixup"),
        )
        labels = MixedLabels(batch["label"])
        if weight < 1:
            labels = MixedLabels(labels.labels, labels.labels.flip(0), images.new_tensor(weight))
        loss, landmarks = self._loss(images, labels, part)
        metrics = {}
        if self.reference is not None:
            weight = self.options.landmark_regularization * landmark_weight(part.progress.fraction)
            if weight > 0:
                self.reference.to(images.device)
                with torch.no_grad():
                    near = self.reference(images)
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
        return spread_warning(metrics)
