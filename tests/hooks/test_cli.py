"""Commands of Kedro that cannot work say why in one message."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import find_run_command
from kedro.framework.startup import bootstrap_project

from lafs_pipeline.cli import cli, jupyter, run

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["FooRunner", "no.such.Runner", "pathlib.Path", "pathlib.sep", "."])
def test_an_unknown_runner(name):
    ended = CliRunner().invoke(cli, ["run", f"--runner={name}"])
    assert ended.exit_code == 2
    assert "Traceback" not in ended.output
    assert f"{name} is no runner of Kedro's. Leave --runner out" in " ".join(ended.output.split())


def test_a_list_among_the_parameters():
    ended = CliRunner().invoke(cli, ["run", "--params", "seed=1,pretrain.methods=[grid,lafs]"])
    assert ended.exit_code == 2
    assert "name that with --config: docs/kedro.md" in " ".join(ended.output.split())
    ended = CliRunner().invoke(cli, ["run", "--params", "foo"])
    assert "must contain a key and a value" in ended.output
    assert "--config" not in ended.output


def test_what_kedro_says_is_shown():
    ended = CliRunner().invoke(cli, ["run", "--pipeline=a", "--pipelines=b"])
    assert ended.exit_code == 1
    assert "cannot be used together" in ended.output


def test_kedro_s_run_is_otherwise_as_it_was():
    assert find_run_command("lafs_pipeline") is run
    assert [option.name for option in run.params] == [option.name for option in kedro_run.params]
    read = {option.name: option for option in run.params}["params"]
    assert read.callback(None, read, "seed=3,pretrain.methods=[lafs]") == {
        "seed": 3,
        "pretrain": {"methods": ["lafs"]},
    }
    assert run.callback is kedro_run.callback


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ("jupyter lab", "jupyterlab"),
        ("jupyter notebook", "notebook"),
        ("jupyter setup", "ipykernel"),
        ("ipython", "IPython"),
    ],
)
def test_a_package_that_is_not_installed(command, package, monkeypatch):
    monkeypatch.setattr(
        "lafs_pipeline.cli.find_spec",
        lambda name: None if name == package else importlib.util.find_spec(name),
    )
    ended = CliRunner().invoke(cli, command.split(), obj=object())
    assert ended.exit_code == 1
    assert f"{command} needs {package}, which is not installed" in ended.output
    assert f"python -m pip install {package}" in ended.output
    assert "NoneType" not in ended.output


def test_what_is_installed_runs(tmp_path, monkeypatch):
    """As `kedro jupyter lab` and `notebook`, which go on to start a server."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    ended = CliRunner().invoke(cli, ["jupyter", "setup"], obj=bootstrap_project(PROJECT))
    assert ended.exit_code == 0, ended.output
    (kernel,) = tmp_path.glob("kernels/kedro_lafs_pipeline/kernel.json")
    assert "kedro.ipython" in kernel.read_text()


def test_every_command_of_kedro_jupyter_is_there():
    assert {"lab", "notebook", "setup"} <= jupyter.commands.keys()


@pytest.mark.parametrize("command", ["mlflow", "run"])
def test_mlflow_is_found_where_the_environment_is_not_active(command, tmp_path):
    """Elsewhere what is found tells how programs have to be typed."""
    program = "import shutil, lafs_pipeline.cli; print(shutil.which('mlflow') is not None)"
    ended = subprocess.run(
        [sys.executable, "-c", program, command, "ui"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split()[-1] == str(command == "mlflow")
