"""Names of the models that a run compares: partitions of the catalog, files and rows of the table.

Backbones are called after the way they were pretrained, face models after the backbone that they were adapted
from, and rows of backbones as they are end with `_frozen`. Any other name is a model of a user's.
"""

from collections.abc import Iterable

STAGE1, SCRATCH, GRID, LAFS = "stage1", "scratch", "grid", "lafs"
FROZEN = "_frozen"
"""Ends the name of a backbone that is evaluated as it is."""
ORDER = (STAGE1, SCRATCH, GRID, LAFS)


def in_order(names: Iterable[str]) -> list[str]:
    """Names as tables and plots have them: up to LAFS, then others by name, frozen ones last."""

    def place(name: str) -> tuple[bool, int, str]:
        method = name.removesuffix(FROZEN)
        return name != method, ORDER.index(method) if method in ORDER else len(ORDER), name

    return sorted(names, key=place)


def leading(names: Iterable[str]) -> str | None:
    """The one that pictures and errors are shown of: LAFS, else what is nearest to it; None without names.

    Backbones as they are come after what was adapted.
    """
    known = in_order(names)
    ranked = [f"{name}{suffix}" for suffix in ("", FROZEN) for name in reversed(ORDER)]
    return next((name for name in ranked if name in known), known[0] if known else None)


def leading_pretrained(names: Iterable[str]) -> str | None:
    """As :func:`leading`, but pretrained without labels; None where none is."""
    return leading(set(names) & {GRID, LAFS})


def to_compare(names: Iterable[str]) -> list[tuple[str, str]]:
    """The leading pretrained row and each it is to be better than: adapted ones, else frozen ones."""
    known = set(names)
    for suffix in ("", FROZEN):
        there = [name for name in (SCRATCH, GRID, LAFS) if f"{name}{suffix}" in known]
        best = leading_pretrained(there)
        if best is not None and len(there) > 1:
            return [(f"{best}{suffix}", f"{name}{suffix}") for name in there if name != best]
    return []
