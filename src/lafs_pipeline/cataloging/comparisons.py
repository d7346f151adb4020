"""What benchmarks compare, once it is known which images can be used."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lafs_pipeline.cataloging.planning import CatalogSettings, Plan, PlannedImages
from lafs_pipeline.faces.manifest import PAIR_TYPES, TableBuilder, join_tables, typed_table
from lafs_pipeline.protocols.held_out import held_out_pairs
from lafs_pipeline.protocols.open import FixedBenchmark, describe_alignment
from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

_BENCHMARK = {"benchmark": "category"}
TEMPLATE_TYPES = _BENCHMARK | {"key": "string", "template": "int32", "media": "int32", "score": "float32"}
TEMPLATE_PAIR_TYPES = _BENCHMARK | {"template_a": "int32", "template_b": "int32", "is_same": "bool"}
SUBJECT_TYPES = _BENCHMARK | {"template": "int32", "subject": "int32", "role": "category"}
EXCLUDED = ("lines", "images", "templates", "pairs")
PROTOCOL_TYPES = (
    {"benchmark": "string", "kind": "string", "alignment": "string"}
    | {f"excluded_{what}": "int64" for what in EXCLUDED}
    | {"duplicate_pairs": "int64"}
)


@dataclass(frozen=True)
class Comparisons:
    """What benchmarks compare.

    Attributes:
        pairs: benchmark, pair (from 0, in file order), key_a, key_b, is_same, fold (missing for none).
        templates: Of benchmarks that compare templates: benchmark, key, template, media, score.
        template_pairs: benchmark, template_a, template_b, is_same.
        template_subjects: Galleries and probes: benchmark, template, subject, role (`probe`, or the gallery).
        protocols: One row per benchmark: kind, alignment, and how many lines of its files, images, templates
            and pairs were left out, duplicate pairs among the last.
    """

    pairs: pd.DataFrame
    templates: pd.DataFrame
    template_pairs: pd.DataFrame
    template_subjects: pd.DataFrame
    protocols: pd.DataFrame


def compare(settings: CatalogSettings, plan: Plan, manifest: pd.DataFrame, seed: int) -> Comparisons:
    """Draw the pairs of held-out identities, and list those of the other benchmarks.

    Raises:
        LafsError: Too few images are left, or a benchmark may not be left incomplete; names it.
    """
    pairs, protocols = TableBuilder(PAIR_TYPES), TableBuilder(PROTOCOL_TYPES)
    parts = [_no_templates()]
    for name, benchmark in settings.benchmarks.items():
        planned = plan.images[benchmark.source if benchmark.kind == "held_out" else name]
        excluded: dict[str, int] = {}
        if benchmark.kind == "held_out":
            members = manifest[manifest["split"] == name]
            drawn = held_out_pairs(name, benchmark, members["identity"].tolist(), seed)
            _add_pairs(name, drawn, members["key"].tolist(), pairs)
        else:
            opened = plan.fixed[name]
            keys = _usable_keys(planned, manifest)
            if opened.templates is None:
                excluded = _list_pairs(name, opened, keys, pairs)
            else:
                tables, excluded = _list_templates(name, opened, keys)
                parts.append(tables)
        counts = [excluded.get(what, 0) for what in (*EXCLUDED, "duplicate_pairs")]
        protocols.append(name, benchmark.kind, describe_alignment(planned.intake.settings), *counts)
    templates = (join_tables(tables) for tables in zip(*parts, strict=True))
    return Comparisons(pairs.table(), *templates, protocols.table())


def with_groups(manifest: pd.DataFrame, groups: dict[str, str]) -> pd.DataFrame:
    """The manifest with a column `group`, where there are groups.

    Raises:
        LafsError: They belong to other images.
    """
    if not groups:
        return manifest
    column = manifest["key"].map(groups)
    if column.isna().all():
        raise LafsError(
            f"The lists of groups name no cataloged image, but {next(iter(groups))!r} and the like; an "
            f"image is called as {manifest['key'].iloc[0]!r} without its source."
        )
    return manifest.assign(group=pd.Categorical(column))


def _usable_keys(planned: PlannedImages, manifest: pd.DataFrame) -> list[str | None]:
    """Key of every image of a benchmark; None for those that cannot be used."""
    usable = set(manifest["key"][manifest["source"] == planned.name])
    return [key if (key := planned.key(i)) in usable else None for i in range(len(planned.source))]


def _list_pairs(
    name: str, opened: FixedBenchmark, keys: list[str | None], pairs: TableBuilder
) -> dict[str, int]:
    dropped = _add_pairs(name, opened.pairs, keys, pairs)
    if dropped:
        logger.warning(
            "Benchmark '%s': %d of %d pairs have a rejected image.", name, dropped, len(opened.pairs)
        )
    wanted = pd.unique(opened.pairs[["a", "b"]].to_numpy().ravel())
    rejected = sum(keys[index] is None for index in wanted)
    return {"images": rejected + opened.missing, "pairs": dropped + opened.missing_pairs}


def _add_pairs(name: str, drawn: pd.DataFrame, keys: Sequence[str | None], pairs: TableBuilder) -> int:
    dropped = 0
    for number, pair in enumerate(drawn.itertuples()):
        if keys[pair.a] is None or keys[pair.b] is None:
            dropped += 1
        else:
            pairs.append(name, number, keys[pair.a], keys[pair.b], pair.is_same, pair.fold)
    return dropped


def _list_templates(
    name: str, opened: FixedBenchmark, keys: list[str | None]
) -> tuple[tuple[pd.DataFrame, ...], dict[str, int]]:
    key = pd.Series(keys, dtype="string")
    try:
        found = opened.templates.settle(key.notna().to_numpy())
    except LafsError as error:
        raise LafsError(f"Benchmark '{name}': {error}") from error
    named = found.templates.assign(key=key.iloc[found.templates["image"]].array)
    tables = tuple(
        table.assign(benchmark=pd.Categorical([name] * len(table)))[list(types)].astype(types)
        for table, types in (
            (named, TEMPLATE_TYPES),
            (found.pairs, TEMPLATE_PAIR_TYPES),
            (found.subjects, SUBJECT_TYPES),
        )
    )
    return tables, found.excluded


def _no_templates() -> tuple[pd.DataFrame, ...]:
    kinds = (TEMPLATE_TYPES, TEMPLATE_PAIR_TYPES, SUBJECT_TYPES)
    return tuple(typed_table(types, [[] for _ in types]) for types in kinds)
