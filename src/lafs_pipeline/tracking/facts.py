"""What MLflow is told about a run besides Kedro's parameters."""

import importlib.metadata
import math
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from mlflow.utils.uri import is_http_uri

from lafs_pipeline.models.methods import SCRATCH, STAGE1, in_order, leading
from lafs_pipeline.tracking.labels import LONGEST, WHOLE, Labels, joined, make_labels
from lafs_pipeline.tracking.tracker import clean_name

REPORTED_LIBRARIES = ("lafs-pipeline", "torch", "timm", "kedro")
TAGGED_LIBRARIES = ("lafs-pipeline", "torch", "timm", "kedro", "opencv-python-headless", "numpy")
HEADLINE = "accuracy"
"""By which runs are compared first: the leading model's on the first benchmark of pairs."""
WITHOUT_PAIRS = {"ijb", "tinyface"}
"""Kinds of benchmarks whose scores have no accuracy."""
STARTING_MODELS = ("backbones", "face_models")
"""What adaptation, the study and evaluation start from."""


def label(run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> Labels:
    """How a run is called, from what it makes, or from what it is given by earlier ones."""
    inputs = pipeline.inputs()
    if "faces" in inputs and catalog.exists("dataset_card"):
        sources = catalog.load("dataset_card")["sources"]
    else:
        sources = list(_given(catalog.load("params:cataloging.sources")))
    return make_labels(
        run_params.get("pipeline_names") or [WHOLE],
        sources,
        catalog.load("parameters"),
        _start(inputs, catalog),
    )


def _given(settings: dict[str, dict[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """The sources or benchmarks that are not left out."""
    return {n: its for n, its in settings.items() if its and (its.get("path") or not its.get("optional"))}


def _start(inputs: set[str], catalog: DataCatalog) -> tuple[list[str], dict[str, Any]] | None:
    """Methods of the models that a run starts from, sizes of the leading one; None where it makes them."""
    from lafs_pipeline.interop.model_header import read_sizes

    folders = [saved_path(catalog, name) for name in STARTING_MODELS if name in inputs]
    files = {path.stem: path for folder in folders if folder for path in folder.glob("[!.]*.safetensors")}
    model = leading(files)
    if model is None:
        return None
    return [name for name in in_order(files) if name not in (STAGE1, SCRATCH)], read_sizes(files[model])[1]


def describe(run_params: dict[str, Any], seed: int) -> dict[str, str]:
    """Tags: seed, environment, git commit and library versions."""
    tags = {f"version.{name}": importlib.metadata.version(name) for name in TAGGED_LIBRARIES}
    tags["seed"] = str(seed)
    tags["environment"] = run_params.get("env") or "base"
    if commit := _git_commit(Path(run_params["project_path"])):
        tags["mlflow.source.git.commit"] = commit
    return tags


def log_data(card: dict[str, Any]) -> None:
    """Log the cataloged faces as the run's input."""
    _log_input(joined(card["sources"]), card["fingerprint"], "faces")


def log_shots(faces: pd.DataFrame) -> None:
    """Log the faces that adaptation sees as the run's input, where there are any."""
    from lafs_pipeline.faces.manifest import fingerprint

    if faces.empty:
        return
    _log_input(joined(sorted(faces["source"].unique())), fingerprint(faces), "adaptation")


def reserve_headline(pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Give the accuracy of a run that will have one its place before all other metrics.

    MLflow's page for comparing runs plots the metric that was logged first, which else would be the load of
    the processor. Until it is measured the accuracy is not a number.
    """
    run = mlflow.get_run(mlflow.active_run().info.run_id)
    if "benchmarks" not in pipeline.all_outputs() or HEADLINE in run.data.metrics:
        return
    benchmarks = _given(catalog.load("parameters").get("cataloging", {}).get("benchmarks") or {})
    if any(its.get("kind") not in WITHOUT_PAIRS for its in benchmarks.values()):
        mlflow.log_metric(HEADLINE, math.nan)


def headline(table: pd.DataFrame) -> float | None:
    """The accuracy that is quoted; None where nothing has one."""
    accuracies = table[table["metric"] == "accuracy"]
    best = accuracies[accuracies["model"] == leading(accuracies["model"])]
    return None if best.empty else float(best["value"].iloc[0])


def log_table(table: pd.DataFrame) -> None:
    """Log the benchmark table as metrics and as the run's description, and the benchmarks as inputs."""
    whole = table[table["group"].isna()]
    quoted = headline(whole)
    mlflow.log_metrics(table_metrics(whole) | ({} if quoted is None else {HEADLINE: quoted}))
    mlflow.set_tag(MLFLOW_RUN_NOTE, table_note(whole))
    for name, digest in whole[["benchmark", "data_fingerprint"]].drop_duplicates().itertuples(index=False):
        _log_input(name[:LONGEST], digest, "benchmark")


def table_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Every value by `<metric>/<benchmark>/<model>`, so that MLflow's charts begin with the accuracies.

    Names that MLflow refuses are cleaned; those that are alike then get an underscore more.
    """
    names = table["metric"] + "/" + table["benchmark"] + "/" + table["model"]
    metrics: dict[str, float] = {}
    for name, value in zip(names.map(clean_name), table["value"].astype(float), strict=True):
        while name in metrics:
            name += "_"
        metrics[name] = value
    return metrics


def wide_table(table: pd.DataFrame) -> pd.DataFrame:
    """One row per benchmark and model, one column per metric, both in the order of the benchmark table."""
    rows = ["benchmark", "model"]
    wide = table.pivot(index=rows, columns="metric", values="value")
    return wide.reindex(
        pd.MultiIndex.from_frame(table[rows].drop_duplicates()), columns=table["metric"].unique()
    )


def table_note(table: pd.DataFrame) -> str:
    """The wide table in Markdown."""
    wide = wide_table(table).astype(float)
    lines = [[*wide.index.names, *wide.columns], ["---", "---", *("---:" for _ in wide.columns)]]
    for row, values in wide.iterrows():
        lines.append([*row, *("" if pd.isna(value) else f"{value:.4f}" for value in values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _log_input(name: str, digest: str, context: str) -> None:
    """Log a data set; its digest is the fingerprint of its faces."""
    # MLflow itself makes them so, though a method of theirs is abstract.
    data = MetaDataset(CodeDatasetSource({"sources": name}), name=name, digest=digest)  # type: ignore[abstract]
    mlflow.log_input(data, context=context)


def saved_path(catalog: DataCatalog, name: str) -> Path | None:
    """The local file or folder of an entry of the catalog; None where it has none."""
    catalog.get(name)  # what a pattern stands for is known from then on
    entry = catalog.to_config()[0].get(name, {})
    while "filepath" not in entry and "path" not in entry:
        entry = entry.get("dataset")
        if not isinstance(entry, dict):
            return None
    return Path(entry.get("filepath") or entry["path"])


def experiment_page(tracking_uri: str, ui: str, experiment: str) -> str:
    """Where MLflow shows the charts of an experiment's runs; by itself it opens pages for chats.

    Args:
        tracking_uri: of the server, or of a store that `kedro mlflow ui` shows.
        ui: host:port of the latter.
        experiment: id.
    """
    is_server = is_http_uri(tracking_uri)
    server = tracking_uri.rstrip("/") if is_server else f"http://{ui}"
    page = f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    return page if is_server else f"{page} while `kedro mlflow ui` runs"


def run_facts(seed: int) -> dict[str, str]:
    """What a report says of its run: date, seed, versions, and the MLflow run where one is open."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in REPORTED_LIBRARIES)
    facts = {"made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "seed": str(seed), "versions": versions}
    run = mlflow.active_run()
    if run is not None:
        facts["MLflow run"] = f"{run.info.run_name} ({run.info.run_id})"
    return facts


def _git_commit(project: Path) -> str | None:
    """The checked-out commit, marked `-dirty` where files differ from it; None outside git."""
    git = shutil.which("git")
    if git is None:
        return None
    described = subprocess.run(
        [git, "-C", project, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None
