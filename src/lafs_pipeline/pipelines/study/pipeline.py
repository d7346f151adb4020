"""The few-shot study, from backbones to one table and one plot."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.evaluate.pipeline import TABLES
from lafs_pipeline.pipelines.study import nodes


def create_pipeline() -> Pipeline:
    """Faces, benchmarks, landmarks, backbones -> study_backbones, study_runs, their table and plot."""
    return Pipeline(
        [
            Node(
                nodes.pretrain_variants,
                inputs=[
                    "backbones",
                    "faces",
                    "landmark_network",
                    "landmarks",
                    "params:model",
                    "params:pretrain",
                    "params:study",
                    "params:launch",
                    "params:seed",
                    "params:paths.checkpoints",
                ],
                outputs="study_backbones",
                name="pretrain_variants",
            ),
            Node(
                nodes.run_study,
                inputs={
                    "backbones": "backbones",
                    "variants": "study_backbones",
                    "store": "embeddings",
                    "study_parameters": "params:study",
                    "adapt_parameters": "params:adapt",
                    "evaluate_parameters": "params:evaluate",
                    "launch": "params:launch",
                    "seed": "params:seed",
                    "checkpoints": "params:paths.checkpoints",
                    **{name: name for name in TABLES},
                },
                outputs="study_runs",
                name="run_study",
            ),
            Node(
                nodes.tabulate,
                inputs=["study_runs", "pairs", "backbones", "params:paths.checkpoints", "params:seed"],
                outputs=["study_table", "study_differences", "study_verdict"],
                name="study_table",
            ),
            Node(nodes.draw, inputs=["study_runs", "pairs"], outputs="study_plot", name="study_plot"),
        ],
        tags="study",
    )
