"""Kedro parameters become frozen settings, or one message that names what is wrong."""

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lafs_pipeline.runtime.errors import LafsError

T = TypeVar("T")


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def parse(kind: type[T], values: dict[str, Any], group: str) -> T:
    """Build settings from a group of parameters.

    Args:
        kind: a settings dataclass.
        values: the parameters.
        group: their name in `parameters*.yml`.

    Raises:
        LafsError: when a key is unknown, or a value is missing, of the wrong kind or out of its range.
    """
    try:
        return _adapter(kind).validate_python(values)
    except ValidationError as error:
        raise LafsError("; ".join(_describe(kind, group, item) for item in error.errors())) from None
    except LafsError as error:
        raise LafsError(f"parameter group {group}: {error}") from None


def _describe(kind: type, group: str, item: dict[str, Any]) -> str:
    path = [str(part) for part in item["loc"]]
    name = ".".join([group, *path])
    if item["type"] == "unexpected_keyword_argument":
        allowed = ", ".join(_allowed(kind, path[:-1]))
        return f"parameter {name} is unknown; {'.'.join([group, *path[:-1]])} has {allowed}"
    if item["type"] == "missing":
        return f"parameter {name} is missing; set it in conf/"
    return f"parameter {name} is {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _allowed(kind: type, path: list[str]) -> list[str]:
    """Field names of the settings at `path`, read from the JSON schema."""
    schema = _adapter(kind).json_schema()
    definitions = schema.get("$defs", {})
    here = schema
    for part in path:
        here = here.get("properties", {}).get(part, here.get("additionalProperties", {}))
        reference = here.get("$ref") or next(
            (option["$ref"] for option in here.get("anyOf", []) if "$ref" in option), None
        )
        here = definitions[reference.rsplit("/", 1)[1]] if reference else here
    return list(here.get("properties", {}))
