"""What goes to the terminal, for a person, and what to the log file of the project."""

import logging
import os
from pathlib import Path

import yaml
from kedro.framework.project import LOGGING
from kedro.logging import RichHandler
from tqdm import tqdm

FILE = "file"
"""Name of the handler in conf/logging.yml that writes a file."""


def set_up_logs(project: Path) -> None:
    """Log as the project says, into its folder; where that cannot be written, to the terminal alone.

    Kedro reads `conf/logging.yml` of the working folder only. Nothing is done where the variable
    KEDRO_LOGGING_CONFIG names another, or the project has none.

    Args:
        project: its folder.
    """
    source = project / "conf/logging.yml"
    if "KEDRO_LOGGING_CONFIG" in os.environ or not source.is_file():
        return
    config = yaml.safe_load(source.read_text(encoding="utf-8"))
    handler = config.get("handlers", {}).get(FILE)
    if handler is None:
        return
    file = project / handler["filename"]
    handler["filename"] = str(file)
    if not os.access(file if file.exists() else project, os.W_OK):
        del config["handlers"][FILE]
        for logger in (config.get("root", {}), *config.get("loggers", {}).values()):
            logger["handlers"] = [name for name in logger.get("handlers", []) if name != FILE]
    LOGGING.configure(config)


class TerminalHandler(RichHandler):
    """Kedro's handler for a person: bars are taken away while a line is written, which so stays whole."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line above the bars."""
        with tqdm.external_write_mode(file=self.console.file):
            super().emit(record)

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave what Kedro and its plugins say of every node and every part of a run to the file."""
        if record.name.startswith(("kedro.", "kedro_mlflow.")) and record.levelno <= logging.INFO:
            return False
        if record.name.startswith("kedro_viz.integrations") and record.levelno <= logging.WARNING:
            return False
        return bool(super().filter(record))


def use_terminal_handler() -> None:
    """Put a `TerminalHandler` in place of Kedro's."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) is RichHandler:
            own = TerminalHandler(level=handler.level, rich_tracebacks=handler.rich_tracebacks)
            root.removeHandler(handler)
            root.addHandler(own)
