"""How a run that does not reach its end is shown, and with which exit status."""

import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl
from kedro.io import DatasetError

from lafs_pipeline.hooks.advice import WholeAdvice, advice
from lafs_pipeline.runtime.credentials import without_credentials
from lafs_pipeline.runtime.errors import LafsError, Stopped, WorkerFailed

logger = logging.getLogger(__name__)

STOPPED_STATUS = 75
"""Exit status of `kedro run` after a training was stopped by a signal or by `training.max_minutes`: the same
command resumes (EX_TEMPFAIL of sysexits.h). Errors exit with 1."""


TRACEBACK = "the log file, lafs_pipeline.log, has the traceback"


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


def explained(error: BaseException) -> LafsError | None:
    """What Kedro says of a command or file that it cannot use, with what to do; None for all else."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    place, said = modules[-1] if modules else "", " ".join(str(error).split()).rstrip(".")
    if isinstance(error, MissingConfigException):
        return LafsError(
            f"{said}: --env (or the variable KEDRO_ENV) names a folder of conf/; see conf/README.md"
        )
    if any(module.startswith("kedro.config") for module in modules):
        return LafsError(f"the configuration cannot be read: {said}. Mend what is named there; {TRACEBACK}")
    if isinstance(error, DatasetError):
        return LafsError(f"{said}. The entry stands in a catalog.yml of conf/; {TRACEBACK}")
    if isinstance(error, ValueError) and place.startswith(("kedro.framework.session", "kedro.pipeline")):
        return LafsError(
            f"{said}. `kedro registry list` names the pipelines, `kedro registry describe NAME` the nodes of "
            "one; tags are the names of pipelines"
        )
    return None


def understood(error: BaseException | None) -> Exception | None:
    """What is shown of an error instead of its traceback; None where that is all there is to show."""
    return shown_error(error) or (None if error is None else explained(error))


class _NoRepeats(logging.Filter):
    """Drops what is logged while an exception is handled that is shown at the end anyway."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        return stop_reason(error) is None and understood(error) is None


class _NoAdviceAfterStop(logging.Filter):
    """Drops Kedro's advice to go on with another command after a stop, and to repeat one that has failed."""

    def filter(self, record: logging.LogRecord) -> bool:
        return stop_reason(sys.exc_info()[1]) is None and not record.getMessage().startswith("No nodes ran")


WHOLE_ADVICE = WholeAdvice()
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
        found = understood(error)
        text = "".join(traceback.format_exception(kind, error, trace))
        if found is None and without_credentials(text) == text:
            self.show_rest(kind, error, trace)
        elif found is None:
            print(without_credentials(text), file=sys.stderr)
        else:
            logger.debug("the traceback of what is shown", exc_info=(kind, error, trace))
            print(f"\nError: {advice.complete(without_credentials(str(found)))}", file=sys.stderr)


def show_messages() -> None:
    """Let this process end with the message of an understood error instead of its traceback."""
    if not isinstance(sys.excepthook, _ShowError):
        sys.excepthook = _ShowError(sys.excepthook)


class EndingHooks:
    """Shows why a training was stopped, and understood errors; their tracebacks go to the log file."""

    @hook_impl(wrapper=True, tryfirst=True)
    def after_context_created(self) -> Iterator[None]:
        """Show the message of such an error alone, and only once, before anything reads the configuration."""
        show_messages()
        for name, quiet in FILTERS.items():
            logging.getLogger(name).addFilter(quiet)
        for handler in logging.getLogger().handlers:
            handler.addFilter(WHOLE_ADVICE)
        return (yield)

    @hook_impl(wrapper=True, tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> Iterator[None]:
        """End the process of a stopped `kedro run`, after all other hooks."""
        result = yield
        reason = stop_reason(error)
        if reason is not None and click.get_current_context(silent=True) is not None:
            print(f"\n{reason}", file=sys.stderr)
            raise SystemExit(STOPPED_STATUS)
        return result
