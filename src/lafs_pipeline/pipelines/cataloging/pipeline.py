"""Faces in: one manifest of all sources and benchmarks."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.cataloging import nodes

TABLES = (
    "rejected",
    "pairs",
    "templates",
    "template_pairs",
    "template_subjects",
    "protocols",
    "duplicates",
    "overlap",
)


def create_pipeline() -> Pipeline:
    """Parameters -> faces, packed_faces, what benchmarks compare, what is left out or doubled, pictures."""
    return Pipeline(
        [
            Node(
                nodes.catalog,
                inputs=["params:cataloging", "params:seed", "params:paths.packed_faces"],
                outputs={
                    "manifest": "faces",
                    **{name: name for name in (*TABLES, "packed_faces")},
                },
                name="catalog_faces",
            ),
            Node(nodes.export, inputs=["faces", "pairs", "params:export"], outputs=None, name="export"),
            Node(
                nodes.describe,
                inputs=["faces", "duplicates", "overlap", "rejected"],
                outputs="dataset_card",
                name="dataset_card",
            ),
            Node(
                nodes.draw_card,
                inputs=["faces", "dataset_card"],
                outputs="dataset_card_plot",
                name="dataset_card_plot",
            ),
            Node(nodes.draw_contact_sheet, inputs="faces", outputs="contact_sheet", name="contact_sheet"),
        ],
        tags="cataloging",
    )
