"""LAFS pretraining, or DINO on the grid as its baseline."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.pretrain import nodes


def create_pipeline() -> Pipeline:
    """Faces, landmark network and landmarks -> backbones, view_montage."""
    return Pipeline(
        [
            Node(
                nodes.pretrain_backbones,
                inputs=[
                    "faces",
                    "landmark_network",
                    "landmarks",
                    "params:model",
                    "params:pretrain",
                    "params:launch",
                    "params:seed",
                    "params:paths.checkpoints",
                ],
                outputs="backbones",
                name="pretrain_backbones",
            ),
            Node(
                nodes.draw_views,
                inputs=["faces", "landmark_network", "params:pretrain", "params:seed"],
                outputs="view_montage_plot",
                name="view_montage",
            ),
        ],
        tags="pretrain",
    )
