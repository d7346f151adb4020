"""The pipelines by name; run in order they take faces to a benchmark table and a report."""

from kedro.pipeline import Pipeline

from lafs_pipeline.pipelines import adapt, cataloging, evaluate, landmarks, pretrain, report, study

STATIONS = {
    "cataloging": cataloging,
    "landmarks": landmarks,
    "pretrain": pretrain,
    "adapt": adapt,
    "evaluate": evaluate,
    "report": report,
}


def register_pipelines() -> dict[str, Pipeline]:
    """The stations, all of them as the default, and the few-shot study."""
    pipelines = {name: station.create_pipeline() for name, station in STATIONS.items()}
    whole = sum(pipelines.values(), start=Pipeline([]))
    return {"__default__": whole, **pipelines, "study": study.create_pipeline()}
