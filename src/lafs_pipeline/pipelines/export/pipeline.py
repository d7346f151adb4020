"""Every model that embeds faces, as a folder to take away."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.export import nodes


def create_pipeline() -> Pipeline:
    """Models, dataset_card, adapt_faces and benchmarks -> exported_backbones, exported_models."""
    return Pipeline(
        [
            Node(
                nodes.export_backbones,
                inputs=["backbones", "dataset_card", "params:model_export"],
                outputs="exported_backbones",
                name="export_backbones",
            ),
            Node(
                nodes.export_face_models,
                inputs=[
                    "face_models",
                    "backbone_digests",
                    "dataset_card",
                    "adapt_faces",
                    "benchmarks",
                    "params:model_export",
                ],
                outputs="exported_models",
                name="export_face_models",
            ),
        ],
        tags="export",
    )
