"""Advice as it must be typed in this run: commands with its options, parameters by their whole names."""

import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from lafs_pipeline.training.settings import TrainingSettings

COMMAND = re.compile(r"kedro run --pipelines?=[\w,]+")
TRAINING = re.compile(rf"(?<![\w.])training\.(?=(?:{'|'.join(f.name for f in fields(TrainingSettings))})\b)")
PROGRAM = re.compile(
    r"(?<![\w/.-])(?:kedro(?= (?:run|mlflow|viz|registry)\b)"
    r"|lafs(?= (?:embed|compare|search|benchmark|replay|checkpoints)\b)"
    r"|mlflow(?= (?:db|migrate-filestore)\b))"
)
KEPT = ("--env", "-e", "--params", "--conf-source", "--config", "-c")
RECIPES = {
    "pretrain.pretrain_backbones": "pretrain",
    "adapt.adapt_models": "adapt.recognition",
    "study.pretrain_variants": "pretrain",
    "study.run_study": "adapt.recognition",
}
"""Group of `training` by the node that trains; that of landmarks depends on their method."""


class Advice:
    """Completes messages of the library, which knows neither commands nor groups."""

    def __init__(self) -> None:
        self.options, self.recipe = "", ""

    def begin(self, run_params: dict[str, Any]) -> None:
        """Learn how this run was started: as it was typed, or else its environment."""
        self.recipe = ""
        if click.get_current_context(silent=True) is not None:
            kept = list(_kept(sys.argv[1:]))
        else:
            kept = ["--env", run_params["env"]] if run_params.get("env") else []
        self.options = f" {shlex.join(kept)}" if kept else ""

    def enter(self, node: str, landmark_method: str) -> None:
        """Learn which node speaks."""
        landmarks = "landmarks.warps" if landmark_method == "warps" else "landmarks.recognition"
        self.recipe = landmarks if node == "landmarks.train_landmarks" else RECIPES.get(node, "")

    def complete(self, text: str) -> str:
        """The text with whole commands and parameters."""
        text = PROGRAM.sub(lambda match: program(match[0]), text)
        text = COMMAND.sub(lambda match: f"{match[0]}{self.options}", text)
        return TRAINING.sub(lambda match: f"{self.recipe}.{match[0]}", text) if self.recipe else text


def program(name: str) -> str:
    """A program of this environment as it must be typed, whether the environment is active or not."""
    own = Path(sys.executable).with_name(name)
    if shutil.which(name) is not None or not own.exists():
        return name
    below = own.is_relative_to(Path.cwd()) and own.parent != Path.cwd()
    return shlex.quote(os.path.relpath(own) if below else str(own))


def _kept(arguments: list[str]) -> Iterator[str]:
    for place, word in enumerate(arguments):
        if word in KEPT:
            yield from arguments[place : place + 2]
        elif word.startswith(tuple(f"{option}=" for option in KEPT)):
            yield word


advice = Advice()
"""Of this process."""


class WholeAdvice(logging.Filter):
    """Completes what this project logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        if record.name.startswith("lafs_pipeline"):
            record.msg, record.args = advice.complete(record.getMessage()), None
        return True
