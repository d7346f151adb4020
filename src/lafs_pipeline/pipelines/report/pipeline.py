"""From everything that a run leaves to one page."""

from kedro.pipeline import Node, Pipeline

from lafs_pipeline.pipelines.evaluate.pipeline import TABLES
from lafs_pipeline.pipelines.report import nodes

SHOWN_DATA = ("face_models", "backbones", "dataset_card", "benchmarks", "verdict", "faces", "pairs")
PICTURES = ("landmark_overlay", "view_montage", "roc", "attention_maps")
SHOWN_PARAMETERS = ("model", "cataloging", "landmarks", "pretrain", "adapt", "evaluate", "launch", "report")


def create_pipeline() -> Pipeline:
    """Face models, manifest, tables and pictures -> hardest_pairs, disagreements, attention_maps, report."""
    return Pipeline(
        [
            Node(
                nodes.find_hardest,
                inputs={
                    "face_models": "face_models",
                    "backbones": "backbones",
                    "store": "embeddings",
                    "evaluate_parameters": "params:evaluate",
                    "report_parameters": "params:report",
                    "launch": "params:launch",
                    **{name: name for name in TABLES},
                },
                outputs=["hardest_pairs", "disagreements"],
                name="hardest_pairs",
            ),
            Node(
                nodes.draw_attention,
                inputs=["face_models", "backbones", "faces", "params:report"],
                outputs="attention_maps_plot",
                name="attention_maps",
            ),
            Node(
                nodes.write_report,
                inputs={
                    "hardest": "hardest_pairs",
                    "disagreements": "disagreements",
                    "study_runs": "earlier_study_runs",
                    "landmark_quality": "landmark_quality",
                    "checkpoints": "params:paths.checkpoints",
                    "seed": "params:seed",
                    **{name: name for name in SHOWN_DATA},
                    **{name: f"{name}_plot" for name in PICTURES},
                    **{group: f"params:{group}" for group in SHOWN_PARAMETERS},
                },
                outputs="report",
                name="report",
            ),
        ],
        tags="report",
    )
