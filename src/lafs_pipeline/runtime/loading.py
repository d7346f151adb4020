"""Batches that other processes load: whatever goes wrong there ends this process with one message."""

import multiprocessing
import signal
import threading
from collections.abc import Generator
from typing import Any

from torch.utils.data import DataLoader

from lafs_pipeline.runtime.errors import LafsError


def batches_of(loader: DataLoader) -> Generator[Any, None, None]:
    """The batches of a loader in order; closed, it ends the processes that load them.

    Raises:
        LafsError: raised by a sample, or a loading process was killed.
    """
    others = multiprocessing.active_children()
    batches = iter(loader)
    started = set(multiprocessing.active_children()).difference(others)
    if loader.num_workers and threading.current_thread() is threading.main_thread():
        # torch's handler would raise anywhere, amid a step; without it the loader itself finds out.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    failed = True
    try:
        yield from batches
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
            f"memory ({error}); lower the number of them (training.workers, evaluate.workers), or give the "
            "job more memory; the same command resumes"
        ) from error
    finally:
        # The traceback keeps the loader from ending them, and when this process ends it would wait for them.
        for process in started if failed else ():
            process.kill()
