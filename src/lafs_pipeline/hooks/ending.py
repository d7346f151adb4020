"""How a run that does not reach its end is shown, and with which exit status."""

import logging
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import click
from kedro.framework.hooks import hook_impl

from lafs_pipeline.runtime.errors import LafsError, Stopped, WorkerFailed

logger = logging.getLogger(__name__)

STOPPED_STATUS = 75
"""Exit status of `kedro run` after a training was stopped by a signal or by `training.max_minutes`: the same
command resumes (EX_TEMPFAIL of sysexits.h). Errors exit with 1."""


def stop_reason(error: BaseException | None) -> str | None:
    """Why a training was stopped, if that is what an exception says; through wrappers that name their cause.

    What failed while a stop was handled is an error and no stop.
    """
    if error is None:
        return None
    return error.reason if isinstance(error, Stopped) else stop_reason(error.__cause__)


def shown_error(error: BaseException | None) -> Exception | None:
    """The error behind an exception, through the wrappers of Kedro, whose message alone says everything."""
    if error is None:
        return None
    if isinstance(error, LafsError | WorkerFailed):
        return error
    return shown_error(error.__cause__ or error.__context__)


class _NoRepeats(logging.Filter):
    """Drops what is logged while an exception is handled that is shown at the end anyway."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        return stop_reason(error) is None and shown_error(error) is None


class _NoAdviceAfterStop(logging.Filter):
    """Drops Kedro's advice to continue with another command; after a stop the same one resumes."""

    def filter(self, record: logging.LogRecord) -> bool:
        return stop_reason(sys.exc_info()[1]) is None


FILTERS = {
    "kedro.pipeline.node": _NoRepeats(),
    "kedro_mlflow.framework.hooks.mlflow_hook": _NoRepeats(),
    "kedro.runner.sequential_runner": _NoAdviceAfterStop(),
    "kedro.runner.thread_runner": _NoAdviceAfterStop(),
}


class _ShowError:
    """An exception hook that shows the message of understood errors, and leaves the rest to another hook."""

    def __init__(self, show_rest: Callable[..., Any]) -> None:
        self.show_rest = show_rest

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = shown_error(error)
        if found is None:
            self.show_rest(kind, error, trace)
        else:
            logger.debug("the traceback of what is shown", exc_info=(kind, error, trace))
            print(f"\nError: {found}", file=sys.stderr)


class EndingHooks:
    """Shows why a training was stopped, and understood errors; their tracebacks go to the log file."""

    @hook_impl(tryfirst=True)
    def after_context_created(self) -> None:
        """Show the message of such an error alone, and only once."""
        if not isinstance(sys.excepthook, _ShowError):
            sys.excepthook = _ShowError(sys.excepthook)
        for name, quiet in FILTERS.items():
            logging.getLogger(name).addFilter(quiet)

    @hook_impl(wrapper=True, tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> Iterator[None]:
        """End the process of a stopped `kedro run`, after all other hooks."""
        result = yield
        reason = stop_reason(error)
        if reason is not None and click.get_current_context(silent=True) is not None:
            print(f"\n{reason}", file=sys.stderr)
            raise SystemExit(STOPPED_STATUS)
        return result
