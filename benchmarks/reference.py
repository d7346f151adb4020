"""The pretraining step as the method is written down: loops over views, landmarks and pairs, nothing fused.

It shares weights with the package's models, by name, and draws with the package's step; all that is computed
is spelled out here. The benchmarks and the tests hold the package's step against it.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.training.recipes.settings import PretrainSettings
from lafs_pipeline.training.stage import MicroBatch
from lafs_pipeline.views.landmarks import draw_subsets, perturb_landmarks


class ReferenceAttention(nn.Module):
    """Softmax of explicit scores."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, dim**-0.5
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.projection = nn.Linear(heads * head_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        query, key, value = (
            part.reshape(batch, tokens, self.heads, -1).permute(0, 2, 1, 3)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        weights = (torch.matmul(query, key.transpose(-1, -2)) * self.scale).softmax(dim=-1)
        out = torch.matmul(weights, value).permute(0, 2, 1, 3).reshape(batch, tokens, -1)
        return self.dropout(self.projection(out))


class ReferenceMlp(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(x)))))


class ReferenceBlock(nn.Module):
    def __init__(self, sizes: dict) -> None:
        super().__init__()
        dim, dropout = sizes["dim"], sizes["dropout"]
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = ReferenceAttention(dim, sizes["heads"], sizes["head_dim"], dropout)
        self.mlp = ReferenceMlp(dim, sizes["mlp_dim"], dropout)
        self.drop_path = DropPath(sizes["drop_path"])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ReferenceTransformer(nn.Module):
    """Every token through every block; the class token is read at the end."""

    def __init__(self, model: PartFViT) -> None:
        super().__init__()
        sizes = model.sizes
        dim = sizes["dim"]
        self.patch_embedding = nn.Linear(3 * sizes["patch_size"] ** 2, dim)
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        self.positions = nn.Parameter(torch.empty(1, sizes["num_landmarks"] + 1, dim))
        self.dropout = nn.Dropout(sizes["dropout"])
        self.blocks = nn.ModuleList(ReferenceBlock(sizes) for _ in range(sizes["depth"]))
        self.norm = nn.LayerNorm(dim)
        self.load_state_dict(model.transformer.state_dict())

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.cat((self.class_token.expand(len(tokens), -1, -1), self.patch_embedding(tokens)), dim=1)
        x = self.dropout(x + self.positions[:, : x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


def reference_patches(images: Tensor, landmarks: Tensor, patch_size: int) -> Tensor:
    """One sampling call a landmark."""
    tokens = []
    offset = torch.arange(patch_size, dtype=torch.float32) - patch_size // 2
    x_offsets, y_offsets = torch.meshgrid(offset, offset, indexing="ij")
    half = images.shape[-1] / 2
    for index in range(landmarks.shape[1]):
        x = landmarks[:, index, 0, None, None] + x_offsets
        y = landmarks[:, index, 1, None, None] + y_offsets
        grid = torch.stack((x / half - 1, y / half - 1), dim=-1)
        patch = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        tokens.append(patch.permute(0, 2, 3, 1).flatten(1))
    return torch.stack(tokens, dim=1)


def reference_loss(
    student: list[Tensor],
    teacher: list[Tensor],
    center: Tensor,
    temperature: float,
    student_temperature: float,
) -> Tensor:
    """One cross-entropy a pair of different views."""
    terms = []
    for t, teacher_view in enumerate(teacher):
        target = F.softmax((teacher_view - center) / temperature, dim=-1).detach()
        for s, student_view in enumerate(student):
            if s != t:
                log_probabilities = F.log_softmax(student_view / student_temperature, dim=-1)
                terms.append(torch.sum(-target * log_probabilities, dim=-1).mean())
    return sum(terms) / len(terms)


@dataclass
class Network:
    """Transformer and head of the student or of the teacher."""

    transformer: ReferenceTransformer
    head: nn.Module

    def logits(self, tokens: Tensor) -> Tensor:
        return self.head(self.transformer(tokens))

    def parameters(self) -> list[nn.Parameter]:
        return [*self.transformer.parameters(), *self.head.parameters()]


class ReferenceStep:
    """Student, teacher, center and optimizer; start from copies of a stage's weights."""

    def __init__(
        self, model: PartFViT, head: nn.Module, options: PretrainSettings, learning_rate: float
    ) -> None:
        self.options, self.patch_size = options, model.patch_size
        self.landmark_network = copy.deepcopy(model.landmark_network).eval()
        self.student = Network(ReferenceTransformer(model), copy.deepcopy(head))
        self.teacher = copy.deepcopy(self.student)
        self.center = torch.zeros(1, options.prototypes)
        self.teacher.transformer.eval()
        for parameter in self.teacher.parameters():
            parameter.requires_grad = False
        decay = options.training.weight_decay
        groups = [
            {"params": [p for p in self.student.parameters() if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in self.student.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, foreach=False)

    def tokens(self, clean: Tensor, appearance: Tensor, part: MicroBatch) -> list[Tensor]:
        """Patches of every view; the draws are those of the package's step.

        Args:
            clean: (V, B, 3, 112, 112) in [-1, 1].
            appearance: likewise.
            part: the whole batch.
        """
        views, options = self.options.views, self.options
        count, batch = len(clean), clean.shape[1]
        generator = torch.Generator().manual_seed(derive_seed(part.seed, "landmarks"))
        number = self.landmark_network.sizes["num_landmarks"]
        noise = perturb_landmarks(torch.zeros(count * batch, number, 2), views.landmark_sigma, generator)
        local = count - views.global_views
        chosen = draw_subsets(local * batch, number, views.local_landmarks, generator, views.with_replacement)
        noise, chosen = noise.unflatten(0, (count, batch)), chosen.unflatten(0, (local, batch))
        tokens = []
        for view in range(count):
            with torch.no_grad():
                landmarks = self.landmark_network(clean[view]) + noise[view]
            if view >= options.views.global_views:
                rows = chosen[view - options.views.global_views]
                landmarks = torch.stack([landmarks[b, rows[b]] for b in range(batch)])
            tokens.append(reference_patches(appearance[view], landmarks, self.patch_size))
        return tokens

    def backward(self, tokens: list[Tensor], temperature: float) -> Tensor:
        """Loss and gradients; the center moves."""
        with torch.no_grad():
            teacher = [self.teacher.logits(view) for view in tokens[: self.options.views.global_views]]
        student = [self.student.logits(view) for view in tokens]
        loss = reference_loss(student, teacher, self.center, temperature, self.options.student_temperature)
        loss.backward()
        momentum = self.options.center_momentum
        self.center = self.center * momentum + torch.cat(teacher).mean(dim=0, keepdim=True) * (1 - momentum)
        return loss

    def update(self, teacher_momentum: float) -> None:
        """Clip, step, follow; each parameter in turn."""
        for parameter in self.student.parameters():
            norm = parameter.grad.norm(2).item()
            if (factor := self.options.training.clip_norm / (norm + 1e-6)) < 1:
                parameter.grad.mul_(factor)
        self.optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                mine.mul_(teacher_momentum).add_((1 - teacher_momentum) * theirs.detach())

    def __call__(
        self, clean: Tensor, appearance: Tensor, part: MicroBatch, temperature: float, momentum: float
    ) -> float:
        """One step from views to updated teacher; the loss."""
        self.optimizer.zero_grad()
        loss = self.backward(self.tokens(clean, appearance, part), temperature)
        self.update(momentum)
        return loss.item()


def view_batch(batch_size: int, views: int, seed: int = 0) -> dict[str, Tensor]:
    """Made-up views as the loader gives them: smooth noise, uint8 (B, V, 112, 112, 3)."""
    generator = torch.Generator().manual_seed(seed)

    def made_up(count: int) -> Tensor:
        coarse = torch.rand(batch_size * count, 3, 14, 14, generator=generator)
        smooth = F.interpolate(coarse, (112, 112), mode="bicubic").clamp(0, 1) * 255
        return smooth.to(torch.uint8).permute(0, 2, 3, 1).unflatten(0, (batch_size, count)).contiguous()

    return {
        "global": made_up(2),
        "local": made_up(views - 2),
        "global_clean": made_up(2),
        "local_clean": made_up(views - 2),
    }


def as_input(batch: dict[str, Tensor], kind: str) -> Tensor:
    """(V, B, 3, 112, 112) in [-1, 1] of the clean (`_clean`) or appearance (empty) copies."""
    views = torch.cat((batch[f"global{kind}"], batch[f"local{kind}"]), dim=1)
    return (views.permute(1, 0, 4, 2, 3).float() / 127.5 - 1).contiguous()


def whole_batch(progress, seed: int, batch_size: int) -> MicroBatch:
    """The part that is the whole batch."""
    return MicroBatch(progress, seed, np.arange(batch_size), batch_size)
