"""The five pipelines by name; run in order they take faces to a benchmark table."""

from kedro.pipeline import Pipeline

from lafs_pipeline.pipelines import adapt, cataloging, evaluate, landmarks, pretrain

STATIONS = {
    "cataloging": cataloging,
    "landmarks": landmarks,
    "pretrain": pretrain,
    "adapt": adapt,
    "evaluate": evaluate,
}


def register_pipelines() -> dict[str, Pipeline]:
    """The five stations, and all of them as the default."""
    pipelines = {name: station.create_pipeline() for name, station in STATIONS.items()}
    return {"__default__": sum(pipelines.values(), start=Pipeline([])), **pipelines}
