"""The pipelines by name; run in order they take faces to a benchmark table and a report."""

from types import ModuleType

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
BESIDE = {"study": study, "export": export}


def register_pipelines() -> dict[str, Pipeline]:
    """The stations, all of them as the default, the few-shot study and the export of models.

    Every pipeline is a namespace of its nodes, which Kedro-Viz draws as one box: a node has one name, in the
    default and alone.
    """
    pipelines = {name: _as_namespace(name, station) for name, station in (STATIONS | BESIDE).items()}
    return {"__default__": Pipeline([pipelines[name] for name in STATIONS]), **pipelines}


def _as_namespace(name: str, module: ModuleType) -> Pipeline:
    return Pipeline(module.create_pipeline(), namespace=name, prefix_datasets_with_namespace=False)
