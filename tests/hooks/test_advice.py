"""Every command and parameter that a message of the code names exists, and is named as it must be typed."""

import ast
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from docs.reference import parameter_rows
from kedro.framework.startup import bootstrap_project
from mlflow.cli import cli as mlflow_cli

from lafs_pipeline.commands.__main__ import _parser
from lafs_pipeline.hooks.advice import RECIPES, TRAINING, Advice, WholeAdvice, advice
from lafs_pipeline.pipeline_registry import register_pipelines
from lafs_pipeline.pipelines.checks import require_given
from lafs_pipeline.pipelines.parameters import GROUPS, group_settings, parse
from lafs_pipeline.runtime.errors import LafsError

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src/lafs_pipeline"


def texts() -> Iterator[tuple[str, str]]:
    """File and text of every string of the code that is no docstring; {} stands for what is filled in."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inner = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                yield path.name, "".join(map(str, parts))
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and not {id(node)} & (docs | inner)
            ):
                yield path.name, node.value


FILES = {"model.safetensors"}
TEXTS = list(texts())
ROWS = {row[0] for group in GROUPS for row in parameter_rows(group_settings(group), None, None, group)}


def found(pattern: str) -> set[str]:
    return {match for _, text in TEXTS if " " in text for match in re.findall(pattern, text)}


def is_parameter(name: str) -> bool:
    patterns = [re.escape(row).replace("NAME", r"\w+") for row in ROWS]
    return any(re.fullmatch(rf"{pattern}(\..+)?", name) for pattern in patterns) or any(
        row.startswith(f"{name}.") for row in ROWS
    )


def test_parameters_that_messages_name_exist():
    names = found(rf"(?<![\w./])((?:{'|'.join(GROUPS)})(?:\.[a-z_0-9]+)+)\b(?!\()")
    assert len(names) > 10
    modules = {
        path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".") for path in SOURCE.rglob("*.py")
    }
    assert [name for name in sorted(names) if not is_parameter(name) and name not in modules | FILES] == []
    relative = found(r"(?<![\w./])training\.([a-z_]+)\b(?!\()")
    fields = {row.removeprefix("pretrain.training.") for row in ROWS if row.startswith("pretrain.training.")}
    assert {"resume", "batch_size", "learning_rate"} <= relative <= fields


def test_pipelines_commands_targets_and_variables_that_messages_name_exist():
    pipelines = {name for names in found(r"--pipelines?=([\w,]+)") for name in names.split(",")} - {""}
    assert {"cataloging", "landmarks", "adapt"} <= pipelines <= register_pipelines().keys()
    commands = found(r"\blafs (embed|compare|replay|checkpoints)\b")
    assert {"replay", "checkpoints"} <= commands
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            _parser().parse_args([command, "--help"])
        assert ended.value.code == 0
    commands = found(r"(?<!kedro )\bmlflow (db \w+|migrate-filestore)\b")
    assert commands == {"db upgrade", "migrate-filestore"}
    for command in commands:
        assert CliRunner().invoke(mlflow_cli, [*command.split(), "--help"]).exit_code == 0
    makefile = (PROJECT / "Makefile").read_text()
    targets = found(r"\bmake ([a-z]+-[a-z]+)\b")
    assert "clean-data" in targets
    assert all(f"\n{target}:" in makefile for target in targets)
    variables = found(r"\b(LAFS_[A-Z0-9_]+)\b")
    documented = (PROJECT / "conf/README.md").read_text()
    assert "LAFS_DATA" in variables
    assert all(variable in documented for variable in variables)


@pytest.mark.parametrize("node", [*RECIPES, "landmarks.train_landmarks"])
@pytest.mark.parametrize("method", ["warps", "identities"])
def test_a_training_parameter_gets_the_name_by_which_it_is_given(node, method):
    speaking = Advice()
    speaking.enter(node, method)
    said = speaking.complete("set training.resume to never, or raise pretrain.teacher_momentum")
    (name,) = re.findall(r"([\w.]*training\.resume)", said)
    assert is_parameter(name)
    assert "raise pretrain.teacher_momentum" in said
    group, *path, last = name.split(".")
    values = {last: "never"}
    for part in reversed(path):
        values = {part: values}
    parse(group_settings(group), values, group)


def test_commands_are_named_with_what_this_run_was_started_with(monkeypatch):
    bootstrap_project(PROJECT)
    advice.begin({"env": "smoke"})
    record = logging.LogRecord(
        "lafs_pipeline.a", 30, "", 0, "first run: kedro run --pipelines=%s", ("adapt",), None
    )
    WholeAdvice().filter(record)
    assert record.getMessage() == "first run: kedro run --pipelines=adapt --env smoke"
    advice.begin({"env": None})
    assert (
        advice.complete("kedro run --pipelines=adapt, then look") == "kedro run --pipelines=adapt, then look"
    )
    assert TRAINING.sub("", "training.py, training.folders, a.training.epochs") == (
        "training.py, training.folders, a.training.epochs"
    )


def test_a_file_of_options_is_named_again(monkeypatch):
    typed = ["kedro", "run", "--config", "my.yml", "--pipelines=landmarks", "-e", "smoke"]
    monkeypatch.setattr(sys, "argv", typed)
    with click.Context(click.Command("run")):
        advice.begin({"env": "smoke"})
    said = advice.complete("kedro run --pipelines=pretrain")
    assert said == "kedro run --pipelines=pretrain --config my.yml -e smoke"


@pytest.mark.parametrize("active", [True, False])
def test_programs_are_named_as_they_can_be_typed(monkeypatch, tmp_path, active):
    tool = tmp_path / "env/bin/kedro"
    tool.parent.mkdir(parents=True)
    tool.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tool.with_name("python")))
    monkeypatch.setenv("PATH", str(tool.parent if active else tmp_path))
    monkeypatch.chdir(tmp_path)
    said = advice.complete("open it with kedro mlflow ui, not kedroid run")
    assert said == f"open it with {'' if active else 'env/bin/'}kedro mlflow ui, not kedroid run"


def test_values_that_a_configuration_leaves_open_are_named_with_the_way_to_give_them():
    optional = {"path": None, "pairs_file": None, "optional": True}
    sources = {"faces": {"path": None}, "labeled": optional, "synthetic": None}
    benchmarks = {"pairs": {"path": "p", "pairs_file": None}}
    parameters = {"cataloging": {"sources": sources, "benchmarks": benchmarks}}
    message = (
        r"cataloging\.sources\.faces\.path by --params faces_folder=PATH or the variable LAFS_FACES; "
        r"cataloging\.benchmarks\.pairs\.pairs_file by --params benchmark_pairs=PATH or the variable "
        r"LAFS_PAIRS$"
    )
    with pytest.raises(LafsError, match=message):
        require_given(PROJECT / "conf/folder", parameters)
    benchmarks["pairs"] = optional
    sources["faces"]["path"] = "given"
    require_given(PROJECT / "conf/folder", parameters)
