"""Landmarks without landmark labels: the network that finds them, and those of the training faces."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.landmarks import nodes


def create_pipeline() -> Pipeline:
    """Faces -> stage1_models, landmark_network, landmarks, landmark_overlay, landmark_quality."""
    return Pipeline(
        [
            Node(
                nodes.train_landmarks,
                inputs=[
                    "faces",
                    "params:model",
                    "params:landmarks",
                    "params:launch",
                    "params:seed",
                    "params:paths.checkpoints",
                ],
                outputs=["stage1_models", "landmark_network"],
                name="train_landmarks",
            ),
            Node(
                nodes.extract,
                inputs=["faces", "landmark_network", "embeddings", "params:landmarks", "params:launch"],
                outputs="landmarks",
                name="extract_landmarks",
            ),
            Node(
                nodes.draw_overlay,
                inputs=["faces", "landmark_network"],
                outputs="landmark_overlay_plot",
                name="landmark_overlay",
            ),
            Node(
                nodes.measure_quality,
                inputs=["faces", "landmark_network", "params:landmark_quality", "params:seed"],
                outputs=["landmark_quality", "landmark_quality_plot"],
                name="landmark_quality",
            ),
        ],
        tags="landmarks",
    )
