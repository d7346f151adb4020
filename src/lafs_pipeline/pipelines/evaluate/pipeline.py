"""Every face model on every benchmark, in one table."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.evaluate import nodes

TABLES = ("faces", "pairs", "templates", "template_pairs", "template_subjects", "protocols", "overlap")


def create_pipeline() -> Pipeline:
    """Faces, tables of the benchmarks, models, backbones -> verification, benchmarks, verdict, roc_plot."""
    return Pipeline(
        [
            Node(
                nodes.verify_models,
                inputs={
                    "face_models": "face_models",
                    "backbones": "backbones",
                    "store": "embeddings",
                    "parameters": "params:evaluate",
                    "launch": "params:launch",
                    "seed": "params:seed",
                    "checkpoints": "params:paths.checkpoints",
                    **{name: name for name in TABLES},
                },
                outputs="verification",
                name="verify_models",
            ),
            Node(
                nodes.tabulate,
                inputs=["verification", "params:evaluate"],
                outputs="benchmarks",
                name="benchmark_table",
            ),
            Node(
                nodes.find_verdict,
                inputs=["verification", "backbones", "pairs", "adapt_faces", "params:paths.checkpoints"],
                outputs="verdict",
                name="verdict",
            ),
            Node(nodes.draw_roc, inputs="verification", outputs="roc_plot", name="roc"),
        ],
        tags="evaluate",
    )
