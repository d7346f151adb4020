"""One optimizer step: parts, precision, exchange of gradients, clipping, and nothing of a step gone wrong."""

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.runtime.sync_batch_norm import synchronize_batch_norm
from lafs_pipeline.training.checkpoints.sharded_state import find_shards
from lafs_pipeline.training.schedules import cosine_schedule
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.training.stage import MicroBatch, Progress, Stage

COMPILES_FROM = (2, 12)
"""In torch 2.11 a compiled pretraining departs from the eager one in its third step."""
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Stepper:
    """Everything that changes the weights of a stage.

    A step whose loss or gradient is not finite changes neither the trained weights nor the optimizer nor
    buffers (a teacher goes on following its student); nothing on the way waits for the device.
    """

    def __init__(
        self,
        stage: Stage,
        settings: TrainingSettings,
        seed: int,
        device: torch.device,
        rows: list[np.ndarray],
        total_steps: int,
        steps_per_epoch: int,
    ) -> None:
        self.stage, self.settings, self.seed, self.device, self.rows = stage, settings, seed, device, rows
        stage.modules.to(device)
        stage.frozen.to(device)
        if processes.world_size() > 1:
            synchronize_batch_norm(stage.trained)
        if is_compiled(device, settings.compile):
            torch.compiler.reset()  # what earlier trainings of this process compiled would be checked first
            stage.compile()
        self.groups = stage.parameter_groups()
        self.base_decay = [group["weight_decay"] for group in self.groups]
        self.optimizer = torch.optim.AdamW(self.groups, lr=settings.peak_learning_rate(), fused=True)
        self.parameters = [parameter for group in self.groups for parameter in group["params"]]
        self.shards = find_shards(stage.modules)
        self.sharded = frozenset(map(stage.modules.get_parameter, self.shards))
        self.precision = resolve_precision(device, settings.precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        warmup = min(round(settings.warmup_epochs * steps_per_epoch), total_steps)
        self.learning_rate = cosine_schedule(
            settings.peak_learning_rate(), settings.final_learning_rate, total_steps, warmup
        )
        final_decay = settings.final_weight_decay
        self.decay_ratio = (
            np.ones(total_steps)
            if final_decay is None or settings.weight_decay == 0
            else cosine_schedule(settings.weight_decay, final_decay, total_steps) / settings.weight_decay
        )

    def wrap_ddp(self) -> None:
        """Let all processes train one set of weights; to be called when those are in place."""
        if processes.world_size() > 1:
            on_cpu = self.device.type == "cpu"
            with warnings.catch_warnings():
                # Its successor is not in every torch that runs this.
                warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
                self.stage.call = DistributedDataParallel(
                    self.stage.trained,
                    device_ids=None if on_cpu else [self.device],
                    broadcast_buffers=False,
                    # Otherwise buckets change after the first step, and with them, in three processes and
                    # more, the order of sums: a run that resumes would differ in its last bits.
                    find_unused_parameters=on_cpu,
                    gradient_as_bucket_view=True,
                )

    def state(self) -> dict[str, Any]:
        """The optimizer's state, and the loss scale where there is one."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from :meth:`state`."""
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def __call__(self, batches: Iterable[dict[str, Tensor]], progress: Progress) -> dict[str, Tensor | float]:
        """Make one step.

        Returns:
            Scalar metrics of this process, those of the stage as means over its parts; `loss`,
            `gradient_norm` and `skipped` (0 or 1, equal in all processes) among them, with fp16 also
            `loss_scale`. A step from whose gradients alone the loss scale was too large changes nothing,
            but does not count as skipped: the next one is made with half of it.
        """
        step, stage = progress.step, self.stage
        seed = derive_seed(self.seed, stage.name, "step", step)
        for group, decay in zip(self.optimizer.param_groups, self.base_decay, strict=True):
            group["lr"] = float(self.learning_rate[step]) * group["lr_scale"]
            group["weight_decay"] = decay * float(self.decay_ratio[step])
        buffers = list(_changing_buffers(stage.modules))
        before = _flat(buffers)
        self.optimizer.zero_grad(set_to_none=True)
        loss, metrics = self._differentiate(batches, progress, seed)
        stage.before_update(progress)
        if self.scaler.is_enabled():
            self._share_overflow()
            self.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.parameters, self.settings.clip_norm, self.settings.clip_mode, self.sharded)
        scale = self.scaler.scale(torch.ones((), device=self.device))
        is_lost = ~(torch.isfinite(loss) & torch.isfinite(norm))
        is_search = torch.isfinite(loss) & (scale > 1)
        flags = torch.stack([is_lost, is_lost & ~is_search]).float()
        if processes.world_size() > 1:
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        lost, skipped = flags.unbind()
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.found_inf = lost
            self.optimizer.step()
        stage.after_update(progress)
        _restore(buffers, before, lost)
        return {
            "loss": loss,
            "learning_rate": self.learning_rate[step],
            "epoch": (step + 1) / progress.steps_per_epoch,
            "gradient_norm": norm,
            "skipped": skipped,
            **({"loss_scale": scale} if self.scaler.is_enabled() else {}),
            **metrics,
        }

    def _differentiate(
        self, batches: Iterable[dict[str, Tensor]], progress: Progress, seed: int
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Add the gradients of all parts up; processes exchange theirs with the last loss."""
        stage, total, sums = self.stage, torch.zeros((), device=self.device), {}
        last = len(self.rows) * stage.losses_per_micro_batch
        done = 0
        for rows, batch in zip(self.rows, batches, strict=True):
            batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
            # Not before: loading a batch may draw from the same generator.
            torch.manual_seed(derive_seed(seed, "part", int(rows[0])))
            part = MicroBatch(progress, seed, rows, self.settings.batch_size)
            losses = stage.losses(batch, part)
            for _ in range(stage.losses_per_micro_batch):
                done += 1
                with self._exchange(done == last):
                    with autocast(self.device, self.precision):
                        loss, metrics = next(losses)
                    loss = loss / len(self.rows)
                    self.scaler.scale(loss).backward()
                total += loss.detach()
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + value
        return total, {name: value / len(self.rows) for name, value in sums.items()}

    def _share_overflow(self) -> None:
        """Let an overflow in the rows that one process trains be one in all, which then scale alike."""
        held = [parameter.grad for parameter in self.sharded if parameter.grad is not None]
        if not processes.in_group() or not held:
            return
        total = torch.stack([gradient.sum() for gradient in held]).sum()
        overflow = total.isfinite().logical_not().float()
        dist.all_reduce(overflow, dist.ReduceOp.MAX)
        shared = next(p.grad for p in self.parameters if p.grad is not None and p not in self.sharded)
        shared.add_(overflow / (1 - overflow))  # 0 or infinity

    def _exchange(self, now: bool) -> Any:
        shared = isinstance(self.stage.call, DistributedDataParallel)
        return nullcontext() if now or not shared else self.stage.call.no_sync()


def _changing_buffers(modules: nn.Module) -> Iterable[Tensor]:
    """The buffers that a forward pass or the end of a step may change."""
    for module in modules.modules():
        if module.training:
            yield from (value for value in module.buffers(recurse=False) if value.is_floating_point())


def _flat(buffers: list[Tensor]) -> Tensor | None:
    """All values one after the other: one launch instead of one a buffer."""
    return torch.cat([buffer.flatten() for buffer in buffers]) if buffers else None


def _restore(buffers: list[Tensor], before: Tensor | None, wanted: Tensor) -> None:
    """Put buffers back to what :func:`_flat` gave before, where that is `wanted` (0 or 1)."""
    if before is not None:
        values = torch.where(wanted.bool(), before, _flat(buffers))
        parts = values.split([buffer.numel() for buffer in buffers])
        torch._foreach_copy_(buffers, [part.view_as(old) for part, old in zip(parts, buffers, strict=True)])


def is_compiled(device: torch.device, wanted: bool | str) -> bool:
    """Whether a step is compiled; `auto` is on a GPU, where this torch compiles it rightly.

    Raises:
        LafsError: it is wanted, and this torch is too old for it.
    """
    can = torch.__version__ >= COMPILES_FROM
    if wanted == "auto":
        return can and device.type == "cuda"
    if wanted and not can:
        raise LafsError(
            f"training.compile needs torch {COMPILES_FROM[0]}.{COMPILES_FROM[1]} or newer, this is "
            f"{torch.__version__}: set training.compile to false, or install a newer torch"
        )
    return bool(wanted)


def resolve_precision(device: torch.device, precision: str) -> str:
    """What `auto` is: bf16 on GPUs that compute in it, fp16 on others, float32 on a CPU."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "float32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of a `precision` setting."""
    precision = resolve_precision(device, precision)
    dtype = HALVES.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype=dtype, enabled=precision in HALVES)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Choose algorithms that repeat bit for bit on a GPU, for a while; where there is none, torch warns."""
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = not wanted
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.backends.cudnn.benchmark = benchmark


@torch.no_grad()
def clip_gradients(
    parameters: Iterable[nn.Parameter],
    max_norm: float | None,
    mode: str,
    sharded: Collection[nn.Parameter] = frozenset(),
) -> Tensor:
    """Scale gradients down where their norm exceeds `max_norm`.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: None clips nothing.
        mode: `parameter` clips every gradient by its own norm (DINO), `global` all by their common one.
        sharded: those among them that hold rows of a matrix whose other rows lie in other processes; their
            norm is that of the whole matrix.

    Returns:
        The largest norm (`parameter`) or the common one (`global`) before clipping, a scalar tensor.
    """
    held = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in held]
    norms = torch.stack(torch._foreach_norm(gradients))
    for norm, parameter in zip(norms, held, strict=True) if processes.in_group() else ():
        if parameter in sharded:
            dist.all_reduce(norm.square_())
            norm.sqrt_()
    largest = norms.max() if mode == "parameter" else torch.linalg.vector_norm(norms)
    if max_norm is not None and mode == "parameter":
        scales = (max_norm / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, list(scales.unbind()))
    elif max_norm is not None:
        torch._foreach_mul_(gradients, (max_norm / (largest + 1e-6)).clamp(max=1.0))
    return largest
