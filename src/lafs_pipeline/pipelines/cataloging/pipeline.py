"""Faces in: one manifest of all sources and benchmarks."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.cataloging import nodes


def create_pipeline() -> Pipeline:
    """Parameters -> faces, rejected, pairs, packed_faces, contact_sheet."""
    return Pipeline(
        [
            Node(
                nodes.catalog,
                inputs=["params:cataloging", "params:seed", "params:paths.packed_faces"],
                outputs=["faces", "rejected", "pairs", "packed_faces"],
                name="catalog_faces",
            ),
            Node(nodes.draw_contact_sheet, inputs="faces", outputs="contact_sheet", name="contact_sheet"),
        ],
        tags="cataloging",
    )
