"""Why images were left out, counted so that a person can read it."""

import re
from collections.abc import Iterable

_VARYING = re.compile(r"'[^']*'|\S*/\S*|\d+(\.\d+)?")
_SHOWN = 4


def kind_of_reason(reason: str) -> str:
    """A reason without names and numbers, which images share."""
    return _VARYING.sub("*", reason)


def count_reasons(reasons: Iterable[tuple[str, str]]) -> str:
    """`3 as KEY: REASON; 1 as ...`, the most frequent first.

    Args:
        reasons: key of the image and its reason.
    """
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for key, reason in reasons:
        kind = kind_of_reason(reason)
        first.setdefault(kind, f"{key}: {reason}")
        counts[kind] = counts.get(kind, 0) + 1
    kinds = sorted(counts, key=lambda kind: -counts[kind])
    said = [f"{counts[kind]} as {first[kind]}" for kind in kinds[:_SHOWN]]
    rest = sum(counts[kind] for kind in kinds[_SHOWN:])
    return "; ".join([*said, f"{rest} for other reasons"] if rest else said)
