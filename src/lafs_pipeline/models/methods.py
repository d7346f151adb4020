"""Names of the models that a run compares: partitions of the catalog, files and rows of the table.

Backbones are called after the way they were pretrained, and face models after the backbone that they were
adapted from. Any other name is a model of a user's.
"""

from collections.abc import Iterable

STAGE1, SCRATCH, GRID, LAFS = "stage1", "scratch", "grid", "lafs"
ORDER = (STAGE1, SCRATCH, GRID, LAFS)


def in_order(names: Iterable[str]) -> list[str]:
    """Names as tables and plots have them: from what is compared with to LAFS, then all others by name."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def leading(names: Iterable[str]) -> str | None:
    """The one that pictures and errors are shown of: LAFS, else what is nearest to it; None without names."""
    known = in_order(names)
    return next((name for name in reversed(ORDER) if name in known), known[0] if known else None)


def leading_pretrained(names: Iterable[str]) -> str | None:
    """As :func:`leading`, but pretrained without labels; None where none is."""
    return leading(set(names) & {GRID, LAFS})
