"""The one loop that trains every stage."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.runtime.sinks import JsonLinesSink, MetricSink
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.clipping import clip_each_parameter
from lafs_pipeline.training.precision import autocast
from lafs_pipeline.training.sampling import StepBatches
from lafs_pipeline.training.schedules import cosine_schedule
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.training.stage import Progress, Stage

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"


@dataclass
class Run:
    """Where a training keeps its state, where its metrics go, and what it may be resumed with.

    Attributes:
        folder: checkpoints and `metrics.jsonl`.
        seed: of data order, augmentation and dropout.
        configuration: everything that decides the result; a checkpoint made with another is not resumed.
        sinks: receive the metrics live.
        device: where the training runs.
    """

    folder: Path
    seed: int
    configuration: dict[str, Any]
    sinks: Sequence[MetricSink]
    device: torch.device


class Trainer:
    """Trains a stage to the end of its schedule, from its newest checkpoint where there is one."""

    def __init__(self, stage: Stage, samples: Dataset, settings: TrainingSettings, run: Run) -> None:
        """Prepare a training; checkpoints that it replaces are removed, nothing is written yet.

        Args:
            stage: what is trained.
            samples: indexed by (epoch, index); a sample is a dict of arrays.
            settings: how it is trained.
            run: where it is trained.

        Raises:
            LafsError: batch sizes that do not fit, or an unfinished run of another configuration.
        """
        self.stage, self.samples, self.settings, self.run = stage, samples, settings, run
        self.batches = self._batches(start=0)
        self.total_steps, self.steps_per_epoch = self.batches.total_steps, self.batches.steps_per_epoch
        self.stage.modules.to(run.device)
        self.groups = stage.parameter_groups()
        self.base_decay = [group["weight_decay"] for group in self.groups]
        self.optimiser = torch.optim.AdamW(self.groups, lr=settings.peak_learning_rate(), fused=True)
        self.parameters = [parameter for group in self.groups for parameter in group["params"]]
        warmup = min(round(settings.warmup_epochs * self.steps_per_epoch), self.total_steps)
        self.learning_rate = cosine_schedule(
            settings.peak_learning_rate(), settings.final_learning_rate, self.total_steps, warmup
        )
        final_decay = settings.final_weight_decay
        self.decay_ratio = (
            np.ones(self.total_steps)
            if final_decay is None or settings.weight_decay == 0
            else cosine_schedule(settings.weight_decay, final_decay, self.total_steps) / settings.weight_decay
        )
        self.configuration = run.configuration | {"total_steps": self.total_steps}
        self.start = self._resume()

    def _batches(self, start: int) -> StepBatches:
        settings = self.settings
        return StepBatches(
            len(self.samples),
            settings.batch_size,
            settings.accumulation,
            settings.epochs,
            self.run.seed,
            start,
        )

    def _resume(self) -> int:
        if self.settings.resume == "never":
            checkpoints.clear(self.run.folder)
            return 0
        checkpoint = checkpoints.load_latest(self.run.folder)
        if checkpoint is None:
            return 0
        if checkpoint.configuration != self.configuration:
            if checkpoint.step == checkpoint.configuration["total_steps"]:
                checkpoints.clear(self.run.folder)
                return 0
            differing = ", ".join(_differences(checkpoint.configuration, self.configuration))
            raise LafsError(
                f"{self.run.folder} holds an unfinished {self.stage.name} run (step {checkpoint.step}) of "
                f"another configuration; it differs in {differing}. Restore the configuration to finish it, "
                "or set training.resume to never to start over"
            )
        self.stage.modules.load_state_dict(checkpoint.weights)
        self.optimiser.load_state_dict(checkpoint.optimiser)
        done = checkpoint.step == self.total_steps
        logger.info(
            "%s: %s step %d of %d from %s",
            self.stage.name,
            "finished at" if done else "continues at",
            checkpoint.step,
            self.total_steps,
            self.run.folder,
        )
        return checkpoint.step

    def train(self) -> nn.ModuleDict:
        """Run to the last step and return the stage's modules in eval mode."""
        settings, run = self.settings, self.run
        sinks = [JsonLinesSink(run.folder / METRICS_FILE), *run.sinks]
        if self.start == 0:
            (run.folder / METRICS_FILE).unlink(missing_ok=True)
        loader = DataLoader(
            self.samples,
            batch_sampler=self._batches(self.start),
            num_workers=settings.workers,
            pin_memory=run.device.type == "cuda",
            persistent_workers=settings.workers > 0,
        )
        parts = iter(loader)
        self.stage.modules.train()
        clock, seen = time.perf_counter(), 0
        bar = tqdm(
            range(self.start, self.total_steps),
            desc=self.stage.name,
            initial=self.start,
            total=self.total_steps,
            unit="step",
            disable=None,
        )
        for step in bar:
            progress = Progress(step, self.total_steps, self.steps_per_epoch)
            metrics = self._step(parts, progress)
            seen += settings.batch_size
            if (step + 1) % settings.log_every == 0 or step + 1 == self.total_steps:
                values = {name: float(value) for name, value in metrics.items()}
                now = time.perf_counter()
                values["images_per_second"] = seen / (now - clock)
                clock, seen = now, 0
                bar.set_postfix(loss=f"{values['loss']:.3f}")
                _log(sinks, values, step + 1)
            if self._probe_is_due(step + 1):
                self.stage.modules.eval()
                _log(sinks, self.stage.probe(), step + 1)
                self.stage.modules.train()
                clock, seen = time.perf_counter(), 0
            if (step + 1) % settings.checkpoint_every == 0 or step + 1 == self.total_steps:
                self._save(step + 1)
        return self.stage.modules.eval()

    def _probe_is_due(self, done: int) -> bool:
        every = self.settings.probe_every * self.steps_per_epoch
        return done % every == 0 or done == self.total_steps

    def _step(self, parts: Any, progress: Progress) -> dict[str, Tensor | float]:
        settings, step = self.settings, progress.step
        seed = derive_seed(self.run.seed, self.stage.name, "step", step)
        torch.manual_seed(seed)
        for group, decay in zip(self.optimiser.param_groups, self.base_decay, strict=True):
            group["lr"] = float(self.learning_rate[step]) * group["lr_scale"]
            group["weight_decay"] = decay * float(self.decay_ratio[step])
        metrics: dict[str, Tensor] = {}
        self.optimiser.zero_grad(set_to_none=True)
        for part in range(settings.accumulation):
            batch = {
                name: value.to(self.run.device, non_blocking=True) for name, value in next(parts).items()
            }
            with autocast(self.run.device, settings.precision):
                loss, metrics = self.stage.loss(batch, progress, derive_seed(seed, part))
            (loss / settings.accumulation).backward()
        self.stage.before_update(progress)
        if settings.clip_norm is not None:
            if settings.clip_mode == "parameter":
                metrics["gradient_norm"] = clip_each_parameter(self.parameters, settings.clip_norm)
            else:
                metrics["gradient_norm"] = nn.utils.clip_grad_norm_(self.parameters, settings.clip_norm)
        self.optimiser.step()
        self.stage.after_update(progress)
        return {
            "loss": loss.detach(),
            "learning_rate": self.learning_rate[step],
            "epoch": (step + 1) / self.steps_per_epoch,
            **metrics,
        }

    def _save(self, step: int) -> None:
        state = checkpoints.Checkpoint(
            step, self.stage.modules.state_dict(), self.optimiser.state_dict(), self.configuration
        )
        checkpoints.save(self.run.folder, state, self.settings.keep_checkpoints)


def _log(sinks: Sequence[MetricSink], metrics: dict[str, float], step: int) -> None:
    for sink in sinks if metrics else ():
        sink.log(metrics, step)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(f"{prefix}{key} ({before} -> {after})")
    return names
