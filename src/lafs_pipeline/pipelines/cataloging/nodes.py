"""Nodes of the cataloging pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ExportSettings, parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Table = pd.DataFrame


def catalog(parameters: dict[str, Any], seed: int, packed: str) -> "dict[str, Table | Path]":
    """The tables of a catalog by name, and the packed images."""
    from lafs_pipeline.cataloging.catalog import catalog_faces
    from lafs_pipeline.cataloging.planning import CatalogSettings

    result = catalog_faces(parse(CatalogSettings, parameters, "cataloging"), seed, packed)
    return vars(result) | {"packed_faces": Path(packed)}


def export(faces: "Table", pairs: "Table", parameters: dict[str, Any]) -> None:
    """Write training faces and benchmarks as other programs read them, where the parameters ask for it."""
    from lafs_pipeline.cataloging.export import export_benchmark, export_recordio

    options = parse(ExportSettings, parameters, "export")
    if options.recordio is not None:
        train = faces[(faces["split"] == "train") & faces["identity"].notna()]
        export_recordio(train, options.recordio)
    for benchmark, path in options.pair_sets.items():
        export_benchmark(faces, pairs, benchmark, path)


def describe(faces: "Table", duplicates: "Table", overlap: "Table", rejected: "Table") -> dict[str, Any]:
    """The data set in numbers, with its fingerprint."""
    from lafs_pipeline.cataloging.card import describe_dataset

    return describe_dataset(faces, duplicates, overlap, rejected)


def draw_card(faces: "Table", card: dict[str, Any]) -> "Figure":
    """The data set in one picture; channel order as decoded and swapped."""
    from lafs_pipeline.reporting.dataset_card import plot_card

    return plot_card(faces, card)


def draw_contact_sheet(faces: "Table") -> "Figure":
    """Some faces of every split, to look at."""
    from lafs_pipeline.reporting.dataset_card import plot_contact_sheet

    return plot_contact_sheet(faces)
