"""Nodes of the cataloging pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def catalog(
    parameters: dict[str, Any], seed: int, packed: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Path]:
    """Manifest, rejected images, verification pairs and the packed images."""
    from lafs_pipeline.faces.catalogue import CatalogSettings, catalog_faces

    result = catalog_faces(parse(CatalogSettings, parameters, "cataloging"), seed, packed)
    return result.manifest, result.rejected, result.pairs, Path(packed)


def draw_contact_sheet(faces: pd.DataFrame) -> "Figure":
    """Some faces of every split, to look at."""
    from lafs_pipeline.faces.contact_sheet import plot_contact_sheet

    return plot_contact_sheet(faces)
