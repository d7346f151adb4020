"""The pipelines by name; run in order they take faces to a benchmark table and a report."""

from kedro.pipeline import Pipeline

from lafs_pipeline.pipelines import adapt, cataloging, evaluate, export, landmarks, pretrain, report, study

STATIONS = {
    "cataloging": cataloging,
    "landmarks": landmarks,
    "pretrain": pretrain,
    "adapt": adapt,
    "evaluate": evaluate,
    "report": report,
}


def register_pipelines() -> dict[str, Pipeline]:
    """The stations, all of them as the default, the few-shot study and the export of models.

    In the default every station is a namespace of its nodes, which Kedro-Viz draws as one box.
    """
    pipelines = {name: station.create_pipeline() for name, station in STATIONS.items()}
    whole = Pipeline(
        [
            Pipeline(pipeline, namespace=name, prefix_datasets_with_namespace=False)
            for name, pipeline in pipelines.items()
        ]
    )
    beside = {"study": study.create_pipeline(), "export": export.create_pipeline()}
    return {"__default__": whole, **pipelines, **beside}
