"""Stage 1 of LAFS: landmarks without landmark labels."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.landmarks import nodes


def create_pipeline() -> Pipeline:
    """Faces -> stage1_model, landmark_network, landmarks, landmark_overlay, landmark_quality."""
    return Pipeline(
        [
            Node(
                nodes.train_stage1,
                inputs=[
                    "faces",
                    "params:model",
                    "params:landmarks",
                    "params:launch",
                    "params:seed",
                    "params:paths.checkpoints",
                ],
                outputs="stage1_model",
                name="train_stage1",
            ),
            Node(
                nodes.take_landmark_network,
                inputs="stage1_model",
                outputs="landmark_network",
                name="take_landmark_network",
            ),
            Node(
                nodes.extract,
                inputs=["faces", "landmark_network"],
                outputs="landmarks",
                name="extract_landmarks",
            ),
            Node(
                nodes.draw_overlay,
                inputs=["faces", "landmarks"],
                outputs="landmark_overlay",
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
