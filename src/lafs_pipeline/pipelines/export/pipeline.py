"""Every model that embeds faces, as a folder to take away."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.export import nodes

ADAPTED = ("scratch", "lafs")


def _export(variant: str, model: str, **facts: str) -> Node:
    shared = {"dataset_card": "dataset_card", "parameters": "params:model_export"}
    return Node(
        nodes.export_model,
        inputs={"model": model, **shared, **facts},
        outputs=f"exported_{variant}",
        name=f"export_{variant}",
    )


def create_pipeline() -> Pipeline:
    """Models, dataset_card, adapt_faces and benchmarks -> exported_{backbone,stage1,scratch,lafs}."""
    scores = {"benchmarks": "benchmarks"}
    return Pipeline(
        [
            _export("backbone", "lafs_backbone"),
            _export("stage1", "face_model_stage1", **scores),
            *(
                _export(variant, f"face_model_{variant}", adapt_faces="adapt_faces", **scores)
                for variant in ADAPTED
            ),
        ],
        tags="export",
    )
