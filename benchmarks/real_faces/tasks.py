"""The trainings and measurements, each a file with its result when it is done."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.real_faces.data import LABELED, PAIRS, PEOPLE, unpacked
from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.subsets import identity_labels, select_shots
from lafs_pipeline.interop.model_files import load_model, save_model
from lafs_pipeline.models.embedding import Embeddings, flip_sum, map_faces
from lafs_pipeline.models.landmark_network import MirroredLandmarks
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.runtime.processes import local_device
from lafs_pipeline.training.jobs import RunContext, pretrain, train_recognition
from lafs_pipeline.training.landmark_warps import train_landmarks
from lafs_pipeline.training.monitoring.probes import knn_accuracy
from lafs_pipeline.training.recipes.automatic import automatic_landmarks, automatic_pretraining
from lafs_pipeline.training.recipes.settings import (
    PretrainSettings,
    RecognitionSettings,
    WarpTrainingSettings,
)
from lafs_pipeline.training.recipes.starts import (
    fit_recognition,
    forget_transformer,
    fresh_grid_model,
    fresh_model,
)
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import AugmentationSettings, ViewSettings

NAME = "part_fvit_tiny_patch8_112"
LANDMARKS = 49
BATCH = 256
VIEWS = {"local_views": 6, "with_replacement": False, "token_positions": "landmark"}
STILL = {"lafs_still_order": "order", "lafs_still": "landmark"}
"""LAFS with landmarks on a grid that no face moves, found once as all are, by the position of a token."""
PRETRAINED = ("grid", *STILL, "lafs")
ARMS = ("scratch", *PRETRAINED)
SEEDS, DRAWS, SHOTS = (0, 1), (0, 1, 2), (2, 10, 4, 1)
"""Of pretrainings, draws of the labeled images, and images per person; the most important first."""
SIZES = {
    "gpu": {"dim": 256, "depth": 8, "heads": 8, "head_dim": 32, "mlp_dim": 512, "landmark_width": 0.5},
    "cpu": {"dim": 128, "depth": 4, "heads": 4, "head_dim": 32, "mlp_dim": 256, "landmark_width": 0.25},
}
GRID_SPEED = 1.4
"""Images per second of plain DINO, whose local views have 9 tokens and need no landmarks, over LAFS."""
COMMON = {"num_landmarks": LANDMARKS, "patch_size": 16, "dropout": 0.0, "drop_path": 0.0}


@dataclass(frozen=True)
class Plan:
    """How long everything is trained.

    Attributes:
        size: of the model, among `SIZES`.
        batch_size: images per step of a pretraining.
        epochs: of LAFS; plain DINO gets as many more as its shorter local views are cheaper.
        landmark_epochs: of the landmark network; None for those of `auto`.
        rate: peak learning rate of a pretraining in batches of 64.
        koleo: weight of KoLeo in a pretraining.
        steps: of an adaptation.
        workers: that load images.
    """

    size: str = "cpu"
    batch_size: int = 64
    epochs: int = 3
    landmark_epochs: int | None = None
    rate: float = 5e-4
    koleo: float = 0.1
    steps: int = 300
    workers: int = 1


class Bench:
    """What the tasks work on."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.sizes = SIZES[plan.size] | COMMON
        self._images: dict[str, np.ndarray] = {}
        for name in ("models", "results"):
            (folder / name).mkdir(exist_ok=True)

    @cached_property
    def faces(self) -> pd.DataFrame:
        return unpacked(self.folder)

    @cached_property
    def train(self) -> pd.DataFrame:
        return self.faces[self.faces["split"] == "train"]

    def images(self, name: str, faces: pd.DataFrame) -> np.ndarray:
        """The faces of a benchmark (n, 112, 112, 3), kept for the next model."""
        if name not in self._images:
            self._images[name] = FaceImages(faces).stack()
        return self._images[name]

    def landmarks(self, model: PartFViT | None = None) -> Embeddings:
        """Of the training faces, as they are cached; with a model of still landmarks those of any face."""
        if model is None:
            vectors = np.load(self.folder / "landmarks.npy", mmap_mode="r")
        else:
            still = MirroredLandmarks(model.landmark_network)(torch.zeros(1, 3, FACE_SIZE, FACE_SIZE))
            vectors = np.broadcast_to(still.detach().numpy(), (len(self.train), still.shape[1]))
        return Embeddings(pd.Series(range(len(vectors)), index=self.train["key"]), vectors, "")

    def model_path(self, name: str) -> Path:
        return self.folder / "models" / f"{name}.safetensors"

    def training(self, **values: Any) -> TrainingSettings:
        return TrainingSettings(
            precision="float32",
            workers=self.plan.workers,
            log_every=50,
            checkpoint_every=500,
            keep_checkpoints=1,
            probe_every=10**6,
            **values,
        )

    def run(self, name: str) -> RunContext:
        seed = int(name.rpartition("-s")[2][:1] or 0) if "-s" in name else 0
        return RunContext(self.folder / "trainings" / name, seed)

    def record(self, name: str, values: dict[str, Any], started: float) -> None:
        values["seconds"] = round(time.monotonic() - started, 1)
        path = self.folder / "results" / f"{name}.json"
        path.with_suffix(".part").write_text(json.dumps(values))
        path.with_suffix(".part").replace(path)
        shutil.rmtree(self.folder / "trainings" / name, ignore_errors=True)


def landmarks(bench: Bench) -> dict[str, Any]:
    """The landmark network, from warps of all training faces, and its landmarks on them."""
    plan, batch = bench.plan, 256 if bench.plan.size == "gpu" else 64
    rate = 2e-3 * (batch / 64) ** 0.25
    epochs = plan.landmark_epochs or automatic_landmarks(len(bench.train), batch)["warps.training.epochs"]
    options = WarpTrainingSettings(
        training=bench.training(
            epochs=epochs,
            batch_size=batch,
            learning_rate=rate,
            reference_batch=batch,
            warmup_epochs=0.05 * epochs,
            weight_decay=0.01,
            clip_norm=None,
        )
    )
    start = fresh_model(NAME, bench.sizes | {"landmark_coordinates": "free"}, 0).landmark_network
    network = train_landmarks(start, bench.train, options, bench.run("landmarks"))
    save_model(network, bench.model_path("landmarks"))
    device = local_device()
    network.to(device)
    found = map_faces(MirroredLandmarks(network), FaceImages(bench.train), device, BATCH)
    np.save(bench.folder / "landmarks.npy", found)
    return {"epochs": epochs, "batch_size": batch}


def start_of(bench: Bench, arm: str, seed: int) -> PartFViT | FViT:
    """The fresh model of an arm."""
    if arm == "grid":
        return fresh_grid_model(NAME, bench.sizes, seed)
    if arm in STILL:
        return fresh_model(NAME, bench.sizes | {"landmark_coordinates": "free"}, seed)
    return fresh_model(NAME, bench.sizes, seed, load_model(bench.model_path("landmarks")))


def pretraining(bench: Bench, arm: str, seed: int) -> dict[str, Any]:
    """Pretrain an arm on all training faces without their labels."""
    plan, images = bench.plan, len(bench.train)
    epochs = plan.epochs if arm != "grid" else round(plan.epochs * GRID_SPEED)
    auto = automatic_pretraining(images, LANDMARKS, plan.batch_size, epochs)
    views = ViewSettings(**VIEWS, local_landmarks=auto["views.local_landmarks"], landmark_sigma=5.0)
    views = replace(views, token_positions=STILL.get(arm, "landmark"))
    if arm == "grid":
        views = replace(views, local_size=48, local_scale=(0.05, 0.4))
    settings = {name: value for name, value in auto.items() if "." not in name}
    options = PretrainSettings(
        methods=("grid" if arm == "grid" else "lafs",),
        landmarks="per_view" if arm == "grid" else "cached",
        views=views,
        head_hidden_dim=512,
        head_bottleneck_dim=128,
        koleo_weight=plan.koleo,
        probe_images=0,
        training=bench.training(
            epochs=epochs,
            batch_size=plan.batch_size,
            learning_rate=plan.rate,
            reference_batch=64,
            batch_scaling="sqrt",
            warmup_epochs=0.1 * epochs,
            weight_decay=0.04,
            final_weight_decay=0.4,
        ),
        **settings,
    )
    start = start_of(bench, arm, seed)
    points = None if isinstance(start, FViT) else bench.landmarks(start if arm in STILL else None)
    name = f"{arm}-s{seed}"
    began = time.monotonic()
    teacher = pretrain(start, bench.train, options, bench.run(name), points)
    trained = time.monotonic() - began
    save_model(teacher, bench.model_path(name))
    return {
        "epochs": epochs,
        "steps": images // plan.batch_size * epochs,
        "trained_seconds": trained,
    } | scores(bench, teacher, ("development",))


def adaptation(
    bench: Bench, arm: str, seed: int, shots: int, draw: int, source: str = LABELED, steps: int | None = None
) -> dict[str, Any]:
    """Adapt an arm to a few labels, and score it. The landmark network stays as it is."""
    steps = steps or bench.plan.steps
    model = (
        forget_transformer(start_of(bench, "lafs", 0), 100 * seed + draw)
        if arm == "scratch"
        else load_model(bench.model_path(f"{arm}-s{seed}"))
    )
    split = "train" if source == LABELED else source
    people = bench.faces[(bench.faces["source"] == source) & (bench.faces["split"] == split)]
    faces = select_shots(people, shots, draw)
    options = RecognitionSettings(
        scale=32.0,
        margin=0.2,
        layer_decay=0.8,
        landmark_regularization=0.0,
        freeze_landmark_network=True,
        probe_images=0,
        augmentation=AugmentationSettings(
            randaugment_operations=0, mixup_probability=0.0, erase_probability=0.5
        ),
        training=bench.training(
            epochs=1,
            batch_size=64,
            learning_rate=2e-3,
            reference_batch=64,
            warmup_epochs=0.0,
            weight_decay=0.1,
        ),
    )
    recipe = fit_recognition(options, len(faces), steps)
    warmup = max(1, recipe.training.epochs // 10)
    recipe = replace(recipe, training=replace(recipe.training, warmup_epochs=warmup))
    name = f"adapt-{arm}-s{seed}-{source}-{shots}-{draw}-{steps}"
    run = replace(bench.run(name), seed=draw)
    adapted = train_recognition(name, model, faces, recipe, run)
    shutil.rmtree(run.folder, ignore_errors=True)
    others = ("development",) if steps != bench.plan.steps else ("development", "lfw")
    return scores(
        bench,
        adapted,
        others + (("people",) if source == LABELED and steps == bench.plan.steps and not draw else ()),
    )


def frozen(bench: Bench, arm: str, seed: int) -> dict[str, Any]:
    """The scores of a backbone as it is."""
    model = (
        forget_transformer(start_of(bench, "lafs", 0), 100 * seed)
        if arm == "scratch"
        else load_model(bench.model_path(f"{arm}-s{seed}"))
    )
    return scores(bench, model, ("development", "lfw", "people"))


def scores(bench: Bench, model: torch.nn.Module, benchmarks: tuple[str, ...]) -> dict[str, Any]:
    """Fold accuracies of verification, and on the people held out the k-NN accuracy."""
    device = local_device()
    embed = flip_sum(model.to(device).eval())
    lists = pd.read_parquet(bench.folder / PAIRS)
    values = {}
    for name in benchmarks:
        pairs = lists[lists["benchmark"] == name]
        wanted = bench.faces[bench.faces["key"].isin(set(pairs["a"]) | set(pairs["b"]))]
        vectors = embedded(embed, bench.images(name, wanted), device)
        row = pd.Series(range(len(wanted)), index=wanted["key"])
        result = verify_pairs(
            vectors[row[pairs["a"]]],
            vectors[row[pairs["b"]]],
            pairs["is_same"].to_numpy(),
            pairs["fold"].to_numpy(),
        )
        values[name] = {
            "fold_accuracy": result.fold_accuracy.tolist(),
            "accuracy": result.accuracy,
            "auc": result.auc,
        }
        if name == "development":
            labels = identity_labels(wanted)[0]
            place = wanted.groupby("identity").cumcount().to_numpy()
            values["knn"] = knn_accuracy(vectors, labels, place % 2 == 0)
    model.cpu()
    return values


@torch.inference_mode()
def embedded(
    embed: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray, device: torch.device
) -> np.ndarray:
    """Embeddings of images (n, 112, 112, 3) uint8."""
    batches = torch.from_numpy(images).split(BATCH)
    return np.concatenate([embed(to_input(batch.to(device))).cpu().numpy() for batch in batches])


def plan_tasks() -> list[tuple[str, Any, tuple[str, ...]]]:
    """Name, arguments of a function, and what has to be there first; the most important first."""
    tasks: list[tuple[str, Any, tuple[str, ...]]] = [("landmarks", (landmarks,), ())]
    for seed in SEEDS:
        for arm in PRETRAINED:
            needs = ("landmarks",) if arm == "lafs" else ()
            tasks.append((f"{arm}-s{seed}", (pretraining, arm, seed), needs))

    def after(arm: str, seed: int) -> tuple[str, ...]:
        return ("landmarks",) if arm == "scratch" else (f"{arm}-s{seed}",)

    for seed in SEEDS:
        tasks += [(f"frozen-{arm}-s{seed}", (frozen, arm, seed), after(arm, seed)) for arm in ARMS]
    for draw in DRAWS:
        for count in SHOTS:
            for seed in SEEDS:
                for arm in ARMS:
                    name = f"adapt-{arm}-s{seed}-{count}-{draw}"
                    tasks.append((name, (adaptation, arm, seed, count, draw), after(arm, seed)))
    for steps in (600, 1200):
        for arm in ("scratch", "lafs"):
            name = f"curve-{arm}-2-{steps}"
            tasks.append((name, (adaptation, arm, 0, 2, 0, LABELED, steps), after(arm, 0)))
    for draw in DRAWS:
        for count in SHOTS[:2]:
            for arm in ("scratch", "grid", "lafs"):
                for seed in SEEDS:
                    name = f"people-{arm}-s{seed}-{count}-{draw}"
                    tasks.append((name, (adaptation, arm, seed, count, draw, PEOPLE), after(arm, seed)))
    return tasks
