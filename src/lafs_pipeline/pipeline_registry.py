"""The pipelines by name; run in order they take faces to a benchmark table and a report."""

from kedro.pipeline import Pipeline

from lafs_pipeline.pipelines import adapt, cataloging, evaluate, export, landmarks, pretrain, report, study

STAGES = {
    "cataloging": cataloging,
    "landmarks": landmarks,
    "pretrain": pretrain,
    "adapt": adapt,
    "evaluate": evaluate,
    "report": report,
}


def register_pipelines() -> dict[str, Pipeline]:
    """The stages, all of them as the default, the few-shot study and the export of models.

    Every stage is a namespace of its nodes, whose names are the same alone and in the default; Kedro-Viz
    draws it as one box.
    """
    pipelines = {
        name: Pipeline(stage.create_pipeline(), namespace=name, prefix_datasets_with_namespace=False)
        for name, stage in STAGES.items()
    }
    whole = Pipeline(list(pipelines.values()))
    beside = {"study": study.create_pipeline(), "export": export.create_pipeline()}
    return {"__default__": whole, **pipelines, **beside}
