"""Commands of Kedro that say what is missing where its own end in a traceback; Kedro looks for this file."""

import copy
import os
import sys
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.jupyter import jupyter as kedro_jupyter
from kedro.framework.cli.project import ipython as kedro_ipython
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import KedroCliError
from kedro.runner import AbstractRunner
from kedro.utils import load_obj

NOTEBOOKS = {"lab": "jupyterlab", "notebook": "notebook", "setup": "ipykernel"}
"""Package by subcommand of `kedro jupyter`; no pipeline needs any of them."""


# `kedro mlflow ui` starts `mlflow` by its name, also where this environment is not active.
if sys.argv[1:2] == ["mlflow"]:
    os.environ["PATH"] = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    )
# Since click 8.4 errors are shown outside of `except`, where Kedro's own method finds nothing to show.
KedroCliError.show = click.ClickException.show  # type: ignore[method-assign]


def known_runner(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """Refuse the name of what is no runner.

    Raises:
        click.BadParameter: with what to do.
    """
    try:
        is_known = name is None or issubclass(load_obj(name, "kedro.runner"), AbstractRunner)
    except (ImportError, AttributeError, TypeError, ValueError):
        is_known = False
    if not is_known:
        raise click.BadParameter(
            f"{name} is no runner of Kedro's. Leave --runner out: nodes run one after the other "
            "(SequentialRunner), and a training starts processes of its own"
        )
    return name


def split_params(context: click.Context, option: click.Parameter, given: str) -> Any:
    """Parameters as Kedro reads them.

    Raises:
        click.BadParameter: with where a list can be given.
    """
    try:
        return kedro_params.callback(context, option, given)
    except click.UsageError as error:
        if "[" in given:
            raise click.BadParameter(
                f"{given} is cut at its commas, so that no list of several values can be given here. Put it "
                "into a file, and name that with --config: docs/kedro.md has an example"
            ) from error
        raise


def with_package(command: click.Command, package: str) -> click.Command:
    """A command that says how to install the package that it needs."""

    @wraps(command.callback)
    def call(*arguments: Any, **options: Any) -> Any:
        if find_spec(package) is None:
            from lafs_pipeline.hooks.advice import program

            raise click.ClickException(
                f"{click.get_current_context().command_path} needs {package}, which is not installed: "
                f"{program('python')} -m pip install {package}"
            )
        return command.callback(*arguments, **options)

    checked = copy.copy(command)
    checked.callback = call
    return checked


def _with_callback(option: click.Parameter) -> click.Parameter:
    checked = copy.copy(option)
    checked.callback = {"runner": known_runner, "params": split_params}.get(str(option.name), option.callback)
    return checked


(kedro_params,) = (option for option in kedro_run.params if option.name == "params")
run = copy.copy(kedro_run)
run.params = [_with_callback(option) for option in kedro_run.params]

jupyter = copy.copy(kedro_jupyter)
jupyter.commands = {
    name: with_package(command, NOTEBOOKS[name]) if name in NOTEBOOKS else command
    for name, command in kedro_jupyter.commands.items()
}

cli = click.Group(
    "lafs_pipeline",
    commands=[run, jupyter, with_package(kedro_ipython, "IPython")],
    help="What the project changes.",
)
