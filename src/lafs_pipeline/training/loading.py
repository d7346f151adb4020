"""Loading samples beside the training, and what may go wrong with it."""

import multiprocessing
import signal
import threading
from collections.abc import Generator
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.sampling import StepBatches


class Samples(Protocol):
    """Training images, indexed by (epoch, index); a sample is a dict of arrays."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]: ...

    def key(self, index: int) -> str:
        """The name of an image, for messages."""


class FaceSamples(Dataset):
    """What is drawn from (epoch, index) of the faces of a manifest; a subclass draws it."""

    def __init__(self, faces: FaceImages) -> None:
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def key(self, index: int) -> str:
        """The manifest's key of an image."""
        return str(self.faces.keys[index])


def loaded(
    samples: Samples, batches: StepBatches, workers: int, pinned: bool
) -> Generator[dict[str, Tensor], None, None]:
    """Collated batches in order; closed, it ends the processes that load them.

    Raises:
        LafsError: raised by a sample, or a loading process was killed.
    """
    others = multiprocessing.active_children()
    loader = iter(
        DataLoader(
            samples,
            batch_sampler=batches,
            pin_memory=pinned,
            **processes.loading(workers),
        )
    )
    started = set(multiprocessing.active_children()).difference(others)
    if workers and threading.current_thread() is threading.main_thread():
        # torch's handler would raise anywhere, amid a step; without it the loader itself finds out.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    failed = True
    try:
        yield from loader
        failed = False
    except GeneratorExit:
        failed = False
    except LafsError as error:
        # torch puts pages of traceback before the message of another process.
        message = str(error).rpartition(f"{LafsError.__module__}.LafsError: ")[2].strip()
        raise LafsError(message) from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        # A batch whose sender died half-way shows as a broken connection.
        raised_by_sample = "Caught " in str(error)
        if raised_by_sample or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
            raise
        raise LafsError(
            "a process that loads the images ended unexpectedly, often killed by the kernel for want of "
            f"memory ({error}); lower training.workers, or give the job more memory; the same command "
            "resumes from its checkpoint"
        ) from error
    finally:
        # The traceback keeps the loader from ending them, and when this process ends it would wait for them.
        for process in started if failed else ():
            process.kill()
