"""Nodes of the cataloging pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Table = pd.DataFrame


def catalog(
    parameters: dict[str, Any], seed: int, packed: str
) -> "tuple[Table, Table, Table, Table, Table, Path]":
    """Manifest, rejected images, pairs, duplicates, overlap of training and benchmarks, packed images."""
    from lafs_pipeline.faces.catalogue import CatalogSettings, catalog_faces

    result = catalog_faces(parse(CatalogSettings, parameters, "cataloging"), seed, packed)
    tables = (result.manifest, result.rejected, result.pairs, result.duplicates, result.overlap)
    return *tables, Path(packed)


def describe(faces: "Table", duplicates: "Table", overlap: "Table", rejected: "Table") -> dict[str, Any]:
    """The data set in numbers, with its fingerprint."""
    from lafs_pipeline.faces.card import describe_dataset

    return describe_dataset(faces, duplicates, overlap, rejected)


def draw_card(faces: "Table", card: dict[str, Any]) -> "Figure":
    """The data set in one picture; channel order as decoded and swapped."""
    from lafs_pipeline.faces.card import plot_card

    return plot_card(faces, card)


def draw_contact_sheet(faces: "Table") -> "Figure":
    """Some faces of every split, to look at."""
    from lafs_pipeline.faces.contact_sheet import plot_contact_sheet

    return plot_contact_sheet(faces)
