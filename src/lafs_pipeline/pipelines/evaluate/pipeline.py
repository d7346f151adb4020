"""Every face model on every benchmark, in one table."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.evaluate import nodes

VARIANTS = ("stage1", "scratch", "lafs")
TABLES = ("faces", "pairs", "templates", "template_pairs", "template_subjects", "protocols", "overlap")


def create_pipeline() -> Pipeline:
    """Faces, the tables of the benchmarks and the face models -> benchmarks, roc."""
    verifications = {variant: f"verification_{variant}" for variant in VARIANTS}
    shared = {"parameters": "params:evaluate", "launch": "params:launch", "seed": "params:seed"}
    return Pipeline(
        [
            *(
                Node(
                    nodes.verify_model,
                    inputs={
                        "model": f"face_model_{variant}",
                        **shared,
                        **({"backbone_digest": "lafs_backbone_digest"} if variant == "lafs" else {}),
                        **{name: name for name in TABLES},
                    },
                    outputs=verification,
                    name=f"verify_{variant}",
                )
                for variant, verification in verifications.items()
            ),
            Node(nodes.tabulate, inputs=verifications, outputs="benchmarks", name="benchmark_table"),
            Node(nodes.draw_roc, inputs=verifications, outputs="roc", name="roc"),
        ],
        tags="evaluate",
    )
