"""Faces in: one manifest of all sources and benchmarks."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.cataloging import nodes

COMPARED = ("pairs", "templates", "template_pairs", "template_subjects", "protocols")


def create_pipeline() -> Pipeline:
    """Parameters -> faces, what benchmarks compare, what is rejected or doubled, pictures."""
    return Pipeline(
        [
            Node(
                nodes.ingest,
                inputs=["params:cataloging", "params:seed", "params:paths.stores"],
                outputs={"manifest": "ingested", "rejected": "unusable", "stores": "stores"}
                | {name: name for name in COMPARED},
                name="ingest",
            ),
            Node(
                nodes.find_duplicates,
                inputs=["ingested", "params:cataloging"],
                outputs="duplicates",
                name="find_duplicates",
            ),
            Node(
                nodes.find_overlap, inputs=["ingested", "duplicates"], outputs="overlap", name="find_overlap"
            ),
            Node(
                nodes.exclude_overlap,
                inputs=["ingested", "overlap", "unusable", "params:cataloging"],
                outputs=["rejected", "faces"],
                name="exclude_overlap",
            ),
            Node(
                nodes.remove_unused_stores,
                inputs=["faces", "stores", "params:paths.stores"],
                outputs=None,
                name="remove_unused_stores",
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
            Node(
                nodes.draw_contact_sheet, inputs="faces", outputs="contact_sheet_plot", name="contact_sheet"
            ),
        ],
        tags="cataloging",
    )
