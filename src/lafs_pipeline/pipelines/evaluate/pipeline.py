"""Every face model on every benchmark, in one table."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.evaluate import nodes

VARIANTS = ("stage1", "scratch", "lafs")


def create_pipeline() -> Pipeline:
    """Faces, pairs and the face models -> benchmarks, roc."""
    verifications = {variant: f"verification_{variant}" for variant in VARIANTS}
    return Pipeline(
        [
            *(
                Node(
                    nodes.verify_model,
                    inputs=[f"face_model_{variant}", "faces", "pairs", "params:evaluate"],
                    outputs=verification,
                    name=f"verify_{variant}",
                )
                for variant, verification in verifications.items()
            ),
            Node(
                nodes.tabulate,
                inputs={"parameters": "params:evaluate", **verifications},
                outputs="benchmarks",
                name="benchmark_table",
            ),
            Node(nodes.draw_roc, inputs=verifications, outputs="roc", name="roc"),
        ],
        tags="evaluate",
    )
