"""The trainings and measurements, each a file with its result when it is done."""

import shutil
import time
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.real_faces.bench import BATCH, LANDMARKS, Bench
from benchmarks.real_faces.data import LABELED, PEOPLE
from benchmarks.real_faces.scores import scores
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.subsets import select_shots
from lafs_pipeline.interop.model_files import load_model, save_model
from lafs_pipeline.models.embedding import map_faces
from lafs_pipeline.models.landmark_network import MirroredLandmarks
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.runtime.processes import local_device
from lafs_pipeline.training.jobs import pretrain, train_recognition
from lafs_pipeline.training.landmark_warps import train_landmarks
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
from lafs_pipeline.views.parameters import AugmentationSettings, ViewSettings

NAME = "part_fvit_tiny_patch8_112"
VIEWS = {"local_views": 6, "with_replacement": False, "token_positions": "landmark"}
STILL = {"lafs_still_order": "order", "lafs_still": "landmark"}
"""LAFS with landmarks on a grid that no face moves, found once as all are, by the position of a token."""
PRETRAINED = ("grid", *STILL, "lafs")
ARMS = ("scratch", *PRETRAINED)
SEEDS, DRAWS, SHOTS = (0, 1), (0, 1, 2), (2, 10, 4, 1)
"""Of pretrainings, draws of the labeled images, and images per person; the most important first."""
Task = tuple[str, Any, tuple[str, ...]]
"""Name, a function with its arguments, and the names of the tasks that have to be done first."""
GRID_SPEED = 1.4
"""Images per second of plain DINO, whose local views have 9 tokens and need no landmarks, over LAFS."""


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


def backbone(bench: Bench, arm: str, seed: int, draw: int) -> PartFViT | FViT:
    """What an adaptation starts from: weights of its own from scratch, else what was pretrained."""
    if arm == "scratch":
        return forget_transformer(start_of(bench, "lafs", 0), 100 * seed + draw)
    return load_model(bench.model_path(f"{arm}-s{seed}"))


def adaptation(
    bench: Bench, arm: str, seed: int, shots: int, draw: int, source: str = LABELED, steps: int | None = None
) -> dict[str, Any]:
    """Adapt an arm to a few labels, and score it. The landmark network stays as it is."""
    steps = steps or bench.plan.steps
    model = backbone(bench, arm, seed, draw)
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
    return scores(bench, backbone(bench, arm, seed, 0), ("development", "lfw", "people"))


def plan_tasks() -> list[Task]:
    """All tasks, what is needed first before what needs it; else the most important first."""
    tasks: list[Task] = [("landmarks", (landmarks,), ())]
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
