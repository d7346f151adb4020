"""Few labels adapt every backbone alike: the pretrained ones and the one from scratch."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.adapt import nodes


def create_pipeline() -> Pipeline:
    """Faces and backbones -> adapt_faces, face_models, probes."""
    return Pipeline(
        [
            Node(
                nodes.choose_shots,
                inputs=["faces", "params:adapt", "params:seed"],
                outputs="adapt_faces",
                name="choose_shots",
            ),
            Node(
                nodes.adapt_models,
                inputs=[
                    "backbones",
                    "adapt_faces",
                    "params:adapt",
                    "params:launch",
                    "params:seed",
                    "params:paths.checkpoints",
                ],
                outputs="face_models",
                name="adapt_models",
            ),
            Node(
                nodes.probe,
                inputs={
                    "backbones": "backbones",
                    "face_models": "face_models",
                    "faces": "faces",
                    "shots": "adapt_faces",
                    "store": "embeddings",
                    "parameters": "params:adapt",
                    "evaluate_parameters": "params:evaluate",
                    "launch": "params:launch",
                    "seed": "params:seed",
                },
                outputs="probes",
                name="probe_backbones",
            ),
        ],
        tags="adapt",
    )
