"""Settings: frozen dataclasses that describe and bound their fields.

The library reads them as plain dataclasses. The pipelines build them from Kedro parameters with
pydantic, which takes the bounds and descriptions from the field metadata and refuses unknown keys.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


def setting(description: str, default: Any = MISSING, **bounds: Any) -> Any:
    """A field with a description and bounds in pydantic's words (`gt`, `ge`, `lt`, `le`, `min_length`)."""
    metadata = {"description": description, **bounds}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only dataclass whose unknown keys pydantic refuses."""
    cls.__pydantic_config__ = {"extra": "forbid", "strict": False}  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by their dotted names; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        is_nested = isinstance(value, Mapping) and value
        flat |= flattened(value, f"{prefix}{key}.") if is_nested else {f"{prefix}{key}": value}
    return flat
