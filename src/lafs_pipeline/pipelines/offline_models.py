"""Models that were logged while the MLflow server did not answer, brought to it."""

import shutil
from contextlib import suppress
from pathlib import Path

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

OFFLINE_MODEL = "lafs.offline_model_id"
"""Tag of a server's model: the offline model that it is a copy of."""


def copy_models(run: Run, source: MlflowClient, server: MlflowClient, copy_id: str) -> None:
    """Copy the whole models of a run to the run's copy, and register them as they were registered.

    What was copied in part is completed and not doubled.

    Args:
        run: in the offline store.
        source: of the offline store.
        server: of the server.
        copy_id: of the server's run.

    Raises:
        MlflowException: when the server does not answer.
    """
    names = {version.name for version in source.search_model_versions(f"run_id = '{run.info.run_id}'")}
    for model in models_of(run, source):
        if model.status == LoggedModelStatus.READY:
            copy = _copy(model, server, copy_id)
            for name in names:
                _register(copy, name, server)


def models_of(run: Run, client: MlflowClient) -> list[LoggedModel]:
    """The models that a run has logged."""
    return client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")


def delete_models(run: Run, source: MlflowClient) -> None:
    """Delete the models of a run, with their files on this machine."""
    for model in models_of(run, source):
        source.delete_logged_model(model.model_id)
        shutil.rmtree(_folder(model).parent, ignore_errors=True)


def _copy(model: LoggedModel, server: MlflowClient, run_id: str) -> LoggedModel:
    experiment_id = server.get_run(run_id).info.experiment_id
    begun = server.search_logged_models([experiment_id], f"tags.`{OFFLINE_MODEL}` = '{model.model_id}'")
    if begun and begun[0].status == LoggedModelStatus.READY:
        return begun[0]
    tags = model.tags | {OFFLINE_MODEL: model.model_id}
    copy = begun[0] if begun else server.create_logged_model(experiment_id, model.name, run_id, tags)
    server.log_outputs(run_id, [LoggedModelOutput(copy.model_id, step=0)])
    server.log_model_artifacts(copy.model_id, str(_folder(model)))
    return server.finalize_logged_model(copy.model_id, LoggedModelStatus.READY)


def _register(model: LoggedModel, name: str, server: MlflowClient) -> None:
    with suppress(MlflowException):
        server.create_registered_model(name)
    run_id = model.source_run_id
    if not server.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        server.create_model_version(name, f"models:/{model.model_id}", run_id, model_id=model.model_id)


def _folder(model: LoggedModel) -> Path:
    return Path(local_file_uri_to_path(model.artifact_location))
