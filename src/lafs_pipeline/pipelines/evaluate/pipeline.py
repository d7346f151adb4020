"""Every face model on every benchmark, in one table."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.evaluate import nodes

TABLES = ("faces", "pairs", "templates", "template_pairs", "template_subjects", "protocols", "overlap")


def create_pipeline() -> Pipeline:
    """Faces, the tables of the benchmarks and the face models -> verification, benchmarks, roc_plot."""
    return Pipeline(
        [
            Node(
                nodes.verify_models,
                inputs={
                    "models": "face_models",
                    "backbone_digests": "backbone_digests",
                    "store": "embeddings",
                    "parameters": "params:evaluate",
                    "launch": "params:launch",
                    "seed": "params:seed",
                    **{name: name for name in TABLES},
                },
                outputs="verification",
                name="verify_models",
            ),
            Node(nodes.tabulate, inputs="verification", outputs="benchmarks", name="benchmark_table"),
            Node(nodes.draw_roc, inputs="verification", outputs="roc_plot", name="roc"),
        ],
        tags="evaluate",
    )
