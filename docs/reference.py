"""Pages about the pipelines, written from what the code says of itself.

`python -m docs.reference docs/pipelines` writes one page a pipeline and one about the
parameter groups that several share.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kedro.framework.project import pipelines as registered
from kedro.framework.project import settings as project_settings
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.parameters import GROUPS, group_settings

PARAMETER = "params:"
SHARED = ("model", "launch", "tracking")
SHARED_PAGE = "shared"
BOUNDS = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}


def parameter_rows(
    kind: type, defaults: Any, values: Any, prefix: str
) -> Iterator[tuple[str, str, str, str, str]]:
    """Name, values allowed, default, value of the demo and description of every setting below `kind`."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        name, hint = f"{prefix}.{field.name}", hints[field.name]
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        given = values.get(field.name, MISSING) if isinstance(values, dict) else MISSING
        nested, repeated = _nested(hint)
        if nested is None:
            usual, demo = _value(default), _value(given)
            shown = "" if demo == usual else demo
            yield name, _allowed(hint, field), usual, shown, _described(field)
        elif repeated:
            yield f"{name}.NAME", "", "", "", _described(field)
            yield from parameter_rows(nested, None, None, f"{name}.NAME")
        else:
            yield from parameter_rows(nested, default, given, name)


def page(name: str, pipeline: Pipeline, owners: dict[str, str], values: dict[str, Any]) -> str:
    """A pipeline's page in Markdown."""
    groups = _groups(pipeline)
    lines = [
        f"# {name}",
        "",
        _docstring(name),
        "",
        "```sh",
        f"kedro run --pipelines={name}",
        "```",
        "",
        f"Needs {_listed(pipeline.inputs())}; leaves {_listed(pipeline.outputs())}.",
        "",
        "| node | from | to |",
        "| --- | --- | --- |",
        *(_node_row(node) for node in pipeline.nodes),
    ]
    for group in (group for group in groups if owners[group] == name):
        lines += ["", *_group(group, values)]
    others = [f"[{group}]({owners[group]}.md#{group})" for group in groups if owners[group] != name]
    if others:
        lines += ["", f"It also uses the parameter groups {', '.join(others)}."]
    return "\n".join(lines) + "\n"


def shared_page(values: dict[str, Any]) -> str:
    """The page of the parameter groups that several pipelines use."""
    lines = ["# Parameters of several pipelines"]
    for group in SHARED:
        lines += ["", *_group(group, values)]
    return "\n".join(lines) + "\n"


def pages(project: Path) -> dict[str, str]:
    """All pages by file name."""
    bootstrap_project(project)
    arguments = project_settings.CONFIG_LOADER_ARGS | {"default_run_env": "base"}
    values = project_settings.CONFIG_LOADER_CLASS(str(project / "conf"), **arguments)["parameters"]
    values = json.loads(json.dumps(values).replace(f"{project}/", ""))
    named = {name: pipeline for name, pipeline in registered.items() if name != "__default__"}
    owners = dict.fromkeys(SHARED, SHARED_PAGE)
    for name, pipeline in named.items():
        for group in _groups(pipeline):
            if group not in SHARED and (group == name or group not in owners):
                owners[group] = name
    written = {f"{name}.md": page(name, pipeline, owners, values) for name, pipeline in named.items()}
    return written | {f"{SHARED_PAGE}.md": shared_page(values)}


def _groups(pipeline: Pipeline) -> list[str]:
    return [group for group in GROUPS if PARAMETER + group in pipeline.inputs()]


def _group(group: str, values: dict[str, Any]) -> list[str]:
    rows = parameter_rows(group_settings(group), None, values.get(group), group)
    return [
        f"## {group}",
        "",
        "| parameter | values | default | in the demo | what it is |",
        "| --- | --- | --- | --- | --- |",
        *("| " + " | ".join((f"`{name}`", *rest)) + " |" for name, *rest in rows),
    ]


def _node_row(node: Node) -> str:
    given, left = _data(node.inputs), _data(node.outputs)
    return f"| {node.name} | {', '.join(given)} | {', '.join(left)} |"


def _data(names: Any) -> list[str]:
    return [name for name in names if not name.startswith(PARAMETER)]


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(_data(names))) or "nothing"


def _docstring(name: str) -> str:
    module = sys.modules[f"lafs_pipeline.pipelines.{name}.pipeline"]
    return module.__doc__.strip()


def _nested(hint: Any) -> tuple[type | None, bool]:
    """The settings inside a type, and whether there may be many by name."""
    if is_dataclass(hint):
        return hint, False
    for argument in get_args(hint):
        nested, repeated = _nested(argument)
        if nested:
            return nested, repeated or get_origin(hint) is dict
    return None, False


def _allowed(hint: Any, field: Field) -> str:
    bounds = [text.format(field.metadata[key]) for key, text in BOUNDS.items() if key in field.metadata]
    return ", ".join([_kind(hint), *bounds])


@cache
def _kind(hint: Any) -> str:
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if get_origin(hint) is tuple:
        return f"list of {_kind(arguments[0])}" if Ellipsis in arguments else f"{len(arguments)} numbers"
    if get_origin(hint) is dict:
        return "mapping"
    if arguments:
        return " or ".join(dict.fromkeys(_kind(part) for part in arguments))
    return {NoneType: "null", int: "whole number", float: "number", str: "text", bool: "true or false"}[hint]


def _default(field: Field) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _value(value: Any) -> str:
    if value is MISSING:
        return ""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(part)}" for key, part in value.items()) or "{}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _described(field: Field) -> str:
    return field.metadata["description"].replace("|", "\\|")


def main(folder: str) -> None:
    """Write all pages into a folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages(Path.cwd()).items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
