"""One adaptation, twice: from the pretrained backbone and from scratch."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.adapt import nodes

PARAMETERS = {"params:adapt", "params:launch", "params:seed", "params:paths.checkpoints"}


def _variant(name: str, start: str) -> Pipeline:
    adaptation = Pipeline(
        [
            Node(
                nodes.adapt_model,
                inputs={
                    "start": "start",
                    "shots": "adapt_faces",
                    "network": "landmark_network",
                    "parameters": "params:adapt",
                    "launch": "params:launch",
                    "seed": "params:seed",
                    "checkpoints": "params:paths.checkpoints",
                    "variant": "params:variant",
                },
                outputs="face_model",
                name="adapt_model",
            )
        ]
    )
    return Pipeline(
        adaptation,
        namespace=name,
        inputs={"start": start, "adapt_faces": "adapt_faces", "landmark_network": "landmark_network"},
        outputs={"face_model": f"face_model_{name}"},
        parameters=PARAMETERS,
    )


def create_pipeline() -> Pipeline:
    """Faces, models of the earlier stages -> adapt_faces, face_model_lafs, face_model_scratch, probes."""
    shared = Pipeline(
        [
            Node(
                nodes.choose_shots,
                inputs=["faces", "params:adapt", "params:seed"],
                outputs="adapt_faces",
                name="choose_shots",
            ),
            Node(
                nodes.start_from_scratch,
                inputs=["lafs_backbone", "params:seed"],
                outputs="blank_backbone",
                name="start_from_scratch",
            ),
            Node(
                nodes.probe,
                inputs={
                    "lafs": "lafs_backbone",
                    "scratch": "blank_backbone",
                    "stage1": "face_model_stage1",
                    "faces": "faces",
                    "shots": "adapt_faces",
                    "parameters": "params:adapt",
                    "evaluate_parameters": "params:evaluate",
                    "launch": "params:launch",
                    "seed": "params:seed",
                },
                outputs="probes",
                name="probe_backbones",
            ),
        ]
    )
    variants = _variant("lafs", "lafs_backbone") + _variant("scratch", "blank_backbone")
    return Pipeline([shared, variants], tags="adapt")
