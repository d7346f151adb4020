"""The one loop that trains every stage."""

import logging
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import Stopped
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.runtime.metric_loggers import METRICS_FILE, ImageLogger, JsonLinesLogger, MetricLogger
from lafs_pipeline.runtime.stop_signals import StopSignals
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint
from lafs_pipeline.training.checkpoints.resume import Start, load_start
from lafs_pipeline.training.checkpoints.sharded_state import gather_shards, take_shards
from lafs_pipeline.training.checkpoints.writer import CheckpointWriter
from lafs_pipeline.training.loading import Samples, loaded
from lafs_pipeline.training.monitoring.health import SkippedSteps
from lafs_pipeline.training.monitoring.meter import Meter
from lafs_pipeline.training.monitoring.pace import Pace
from lafs_pipeline.training.sampling import StepBatches
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.training.stage import Progress, Stage
from lafs_pipeline.training.step import Stepper, determinism

logger = logging.getLogger(__name__)

SCORE = "knn_accuracy"


@dataclass
class Run:
    """Where a training keeps its state, where its metrics go, and what it may be resumed with.

    Attributes:
        folder: checkpoints and `metrics.jsonl`.
        seed: of data order, augmentation and dropout.
        configuration: everything that decides the result; a checkpoint made with another is not resumed.
        loggers: receive the metrics live, from the first process.
        device: where the training runs.
        extended: folder of a finished training that one without checkpoints starts from.
        run_id: of its MLflow run, for the checkpoints; empty where it is not tracked.
        title: what people know it as; empty for the name of its stage, which several trainings share.
    """

    folder: Path
    seed: int
    configuration: dict[str, Any]
    loggers: Sequence[MetricLogger]
    device: torch.device
    extended: Path | None = None
    run_id: str = ""
    title: str = ""


class Trainer:
    """Trains a stage to the end of its schedule, from its newest checkpoint where there is one."""

    def __init__(self, stage: Stage, samples: Samples, settings: TrainingSettings, run: Run) -> None:
        """Prepare a training; nothing is written yet, but for the metrics of one that is extended.

        Raises:
            LafsError: batch sizes that do not fit, or a checkpoint that does not.
        """
        self.stage, self.samples, self.settings, self.run = stage, samples, settings, run
        self.name = run.title or stage.name
        plan = self._batches(start=0)
        self.plan, self.total_steps, self.steps_per_epoch = plan, plan.total_steps, plan.steps_per_epoch
        self.stepper = Stepper(
            stage, settings, run.seed, run.device, plan.rows, plan.total_steps, plan.steps_per_epoch
        )
        self.configuration = run.configuration | {"total_steps": self.total_steps}
        self.meter = Meter(run.device, stage.operations())
        self.skipped = SkippedSteps(settings.max_skipped, self.name, self._keys)
        self._advice_given: set[str] = set()
        self.start = self._resume()
        self.stepper.wrap_ddp()

    def _batches(self, start: int) -> StepBatches:
        settings = self.settings
        return StepBatches(
            len(self.samples),
            settings.batch_size,
            settings.accumulation,
            settings.epochs,
            self.run.seed,
            start,
            processes.rank(),
            processes.world_size(),
        )

    def _keys(self, step: int) -> list[str]:
        return [self.samples.key(index) for index in self.plan.step_indices(step).tolist()]

    def _resume(self) -> int:
        folder, total, name = self.run.folder, self.total_steps, self.name
        start = Start(folder, self.configuration, self.run.extended)
        checkpoint = load_start(start, name, self.settings.resume)
        if checkpoint is None:
            return 0
        checkpoint = take_shards(checkpoint, self.stepper.shards)
        checkpoints.require_fitting(checkpoint, self.stage.modules, folder)
        self.stage.modules.load_state_dict(checkpoint.weights)
        self.stepper.load_state({"optimizer": checkpoint.optimizer, "scaler": checkpoint.extra["scaler"]})
        self.skipped.total = checkpoint.extra["skipped"]
        step = checkpoint.step
        if checkpoint.configuration != self.configuration:
            logger.info(
                "%s: extends the training in %s from step %d to %d; its schedules are those of %d steps, so "
                "the learning rate rises from %.3g to %.3g and falls again",
                *(name, self.run.extended, step, total, total),
                *(self.settings.final_learning_rate, self.stepper.learning_rate[step]),
            )
            if processes.is_main():
                _copy_metrics(self.run.extended, folder)
        else:
            done = "finished at" if step == total else "continues at"
            logger.info("%s: %s step %d of %d from %s", name, done, step, total, folder)
        return step

    def train(self) -> nn.ModuleDict:
        """Run to the last step and return the stage's modules in eval mode.

        Raises:
            Stopped: after a signal or the time limit, when a checkpoint of the last step is written.
            LafsError: what a user can mend; the newest checkpoint is whole.
        """
        loggers = self.run.loggers if processes.is_main() else ()
        if self.start == self.total_steps:
            for metric_logger in loggers:
                metric_logger.close()
        else:
            settings, folder = self.settings, self.run.folder
            resume_step = self.start if self.start else None
            if processes.is_main():
                loggers = [JsonLinesLogger(folder / METRICS_FILE, resume_step), *loggers]
            for metric_logger in loggers:
                metric_logger.open(folder)
            writer = CheckpointWriter(folder, settings.keep_checkpoints, settings.milestone_every)
            try:
                with (
                    writer,
                    determinism(settings.deterministic),
                    StopSignals() as signals,
                    closing(self._loaded()) as batches,
                ):
                    self._steps(writer, loggers, signals, batches)
            finally:
                for metric_logger in loggers:
                    metric_logger.close()
            processes.barrier()
        return self.stage.modules.eval()

    def _steps(
        self,
        writer: CheckpointWriter,
        loggers: Sequence[MetricLogger],
        signals: StopSignals,
        batches: Iterator[dict[str, Tensor]],
    ) -> None:
        settings, stage = self.settings, self.stage
        limit = None if settings.max_minutes is None else time.monotonic() + 60 * settings.max_minutes
        bar = tqdm(
            range(self.start, self.total_steps),
            desc=self.name,
            initial=self.start,
            total=self.total_steps,
            unit="step",
            disable=None if processes.is_main() else True,
        )
        stage.modules.train()
        if self.start == 0:  # where curves of scores begin
            self._probe(writer, loggers, 0)
        self.meter.restart()
        pace = Pace(self.name, self.total_steps, settings.batch_size)
        for step in bar:
            done = step + 1
            parts = self._parts(step, batches, writer, signals, limit)
            metrics = self.stepper(parts, self._progress(step))
            self.skipped.record(step, metrics.pop("skipped"))
            self.meter.images += settings.batch_size
            last = done == self.total_steps
            if done % settings.log_every == 0 or last:
                metrics = {name: float(value) for name, value in metrics.items()}
                values = self._mean_over_processes(metrics | self.meter.read())
                values["skipped_steps"] = float(self.skipped.settle())
                bar.set_postfix(loss=f"{values['loss']:.3f}")
                self._log(loggers, values, done)
                if processes.is_main():
                    pace.tell(done, values["images_per_second"])
            score = None
            if done % (settings.probe_every * self.steps_per_epoch) == 0 or last:
                score = self._probe(writer, loggers, done)
                self.meter.restart()
            if done % settings.checkpoint_every == 0 or score is not None or last:
                self._save(writer, done, score)

    def _parts(
        self,
        step: int,
        batches: Iterator[dict[str, Tensor]],
        writer: CheckpointWriter,
        signals: StopSignals,
        limit: float | None,
    ) -> list[dict[str, Tensor]]:
        """This process's parts of a step, or the end: all processes agree on which before they compute.

        When it is the end, a checkpoint of the step before is written first.

        Raises:
            Stopped: after a signal, the time limit, or another process's failure to load.
            Exception: what made it impossible to load the parts.
        """
        parts, failure = [], None
        over = limit is not None and step > self.start and time.monotonic() > limit
        minutes = f"training.max_minutes of {self.settings.max_minutes:g}" if over else None
        reason = signals.requested or minutes
        if reason is None:
            try:
                with self.meter.waiting():
                    parts = [next(batches) for _ in self.plan.rows]
            except Exception as error:
                failure, reason = error, str(error) or type(error).__name__
        agreed = processes.agree_on_stop(reason)
        if agreed is None:
            return parts
        if step > self.start:
            self._save(writer, step, None)
            writer.drain()
            processes.barrier()
        if failure is not None:
            raise failure
        raise Stopped(
            f"{self.name} stopped at step {step} of {self.total_steps} ({agreed}); the same command "
            f"resumes from its checkpoint in {self.run.folder}"
        )

    def _progress(self, step: int) -> Progress:
        return Progress(step, self.total_steps, self.steps_per_epoch)

    def _loaded(self) -> Generator[dict[str, Tensor], None, None]:
        batches = self._batches(self.start)
        return loaded(self.samples, batches, self.settings.workers, self.run.device.type == "cuda")

    def _probe(self, writer: CheckpointWriter, loggers: Sequence[MetricLogger], done: int) -> float | None:
        """Measure in the first process, while the others wait; the score is known in all."""
        values, failure = {}, None
        if processes.is_main():
            self.stage.modules.eval()
            try:
                values = self.stage.probe()
                if done:
                    self._show([one for one in loggers if isinstance(one, ImageLogger)], done)
            except Exception as error:
                failure = error
            self.stage.modules.train()
        score, failed = processes.broadcast_object((values.get(SCORE), failure is not None))
        if failed and done:
            self._save(writer, done, None)
        if failure is not None:
            raise failure
        self._log(loggers, values, done)
        return score

    def _show(self, loggers: list[ImageLogger], done: int) -> None:
        pictures = self.stage.pictures(self._progress(done - 1)) if loggers else {}
        for name, picture in pictures.items():
            for image_logger in loggers:
                image_logger.log_image(name, picture, done * self.settings.batch_size)

    def _save(self, writer: CheckpointWriter, done: int, score: float | None) -> None:
        """Write a checkpoint from the first process; all must call it."""
        skipped = self.skipped.settle()
        state = self.stepper.state()
        extra = {"scaler": state["scaler"], "skipped": skipped, "run": self.run.run_id}
        weights = self.stage.modules.state_dict()
        own = Checkpoint(done, weights, state["optimizer"], self.configuration, extra, score)
        checkpoint = gather_shards(own, self.stepper.shards)
        if processes.is_main():
            writer.save(checkpoint)

    def _mean_over_processes(self, metrics: dict[str, float]) -> dict[str, float]:
        values = torch.tensor(list(metrics.values()), dtype=torch.float64)
        return dict(zip(metrics, processes.all_reduce_mean(values).tolist(), strict=True))

    def _log(self, loggers: Sequence[MetricLogger], metrics: dict[str, float], done: int) -> None:
        for metric_logger in loggers if metrics else ():
            metric_logger.log(metrics, done, done * self.settings.batch_size)
        if not done or not processes.is_main():
            return
        if warning := self.stage.diagnose(metrics, self._progress(done)):
            advice = warning.partition(": ")[2]
            if advice not in self._advice_given:
                logger.warning("%s, step %d: %s", self.name, done, warning)
                self._advice_given.add(advice)


def _copy_metrics(source: Path, folder: Path) -> None:
    """Let the curves of an extension begin with those of the training that it extends."""
    if (source / METRICS_FILE).exists():
        with whole_file(folder / METRICS_FILE) as temporary:
            shutil.copyfile(source / METRICS_FILE, temporary)
