"""Nodes of the cataloging pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ExportSettings, parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.cataloging.planning import CatalogSettings


def ingest(parameters: dict[str, Any], seed: int, folder: str) -> dict[str, pd.DataFrame]:
    """All images that can be used, in stores in a folder, and what benchmarks compare: tables by name."""
    from lafs_pipeline.cataloging.catalog import ingest_faces

    return vars(ingest_faces(_settings(parameters), seed, folder))


def find_duplicates(ingested: pd.DataFrame, parameters: dict[str, Any]) -> pd.DataFrame:
    """Images that are there more than once."""
    from lafs_pipeline.cataloging import duplicates

    settings = _settings(parameters)
    return duplicates.find_duplicates(
        ingested, settings.near_distance, settings.near_similarity, settings.used_threads
    )


def find_overlap(ingested: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """Training images that a benchmark also holds."""
    from lafs_pipeline.cataloging import overlap

    return overlap.find_overlap(ingested, duplicates)


def exclude_overlap(
    ingested: pd.DataFrame, overlap: pd.DataFrame, unusable: pd.DataFrame, parameters: dict[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All images that were rejected, with the reasons, and at last the faces that stay."""
    from lafs_pipeline.cataloging.catalog import leave_overlap_out

    faces, rejected = leave_overlap_out(_settings(parameters), ingested, overlap, unusable)
    return rejected, faces


def remove_unused_stores(faces: pd.DataFrame, stores: pd.DataFrame, folder: str) -> None:
    """Now that the faces are saved, nothing needs the stores of earlier ones."""
    from lafs_pipeline.cataloging import shards

    shards.remove_unused_stores(folder, {*stores["store"], *faces["store"].unique()})


def export(faces: pd.DataFrame, pairs: pd.DataFrame, parameters: dict[str, Any]) -> None:
    """Write training faces and benchmarks as other programs read them, where the parameters ask for it."""
    from lafs_pipeline.cataloging.export import export_benchmark, export_recordio

    options = parse(ExportSettings, parameters, "export")
    if options.recordio is not None:
        train = faces[(faces["split"] == "train") & faces["identity"].notna()]
        export_recordio(train, options.recordio)
    for benchmark, path in options.pair_sets.items():
        export_benchmark(faces, pairs, benchmark, path)


def describe(
    faces: pd.DataFrame, duplicates: pd.DataFrame, overlap: pd.DataFrame, rejected: pd.DataFrame
) -> dict[str, Any]:
    """The data set in numbers, with its fingerprint."""
    from lafs_pipeline.cataloging.card import describe_dataset

    return describe_dataset(faces, duplicates, overlap, rejected)


def draw_card(faces: pd.DataFrame, card: dict[str, Any]) -> "Figure":
    """The data set in one picture; channel order as decoded and swapped."""
    from lafs_pipeline.reporting.dataset_card import plot_card

    return plot_card(faces, card)


def draw_contact_sheet(faces: pd.DataFrame) -> "Figure":
    """Some faces of every split, to look at."""
    from lafs_pipeline.reporting.dataset_card import plot_contact_sheet

    return plot_contact_sheet(faces)


def _settings(parameters: dict[str, Any]) -> "CatalogSettings":
    from lafs_pipeline.cataloging.planning import CatalogSettings

    return parse(CatalogSettings, parameters, "cataloging")
