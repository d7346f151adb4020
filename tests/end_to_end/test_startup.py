"""What a run imports before it begins to work."""

import os
import subprocess
import sys

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from tests.end_to_end.documents import PROJECT

BEFORE_THE_FIRST_NODE = """
import sys
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import SequentialRunner

class NoNodes(SequentialRunner):
    def run(self, *args, **kwargs):
        print("imported:", *sorted({"torch", "timm", "matplotlib", "sklearn"} & sys.modules.keys()))
        return {}

project = bootstrap_project(".")
with KedroSession.create(project_path=".", env="smoke") as session:
    session.run(pipeline_names=["evaluate"], runner=NoNodes())
"""


def test_nothing_heavy_is_imported_before_the_first_node(smoke, tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    finished = subprocess.run(
        [sys.executable, "-c", BEFORE_THE_FIRST_NODE],
        cwd=PROJECT,
        env=os.environ | {"LAFS_DATA": str(smoke), "MLFLOW_TRACKING_URI": store},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "imported:" in finished.stdout.splitlines()
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("lafs_pipeline/evaluate")
    # A run that did nothing is not kept.
    (run,) = client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert run.data.tags["model"] == "96x2"


ALL_GROUPS = """
import sys
from lafs_pipeline.pipelines.parameters import GROUPS, group_settings

for group in GROUPS:
    group_settings(group)
print(*{"torch", "timm", "matplotlib", "sklearn"} & sys.modules.keys())
"""


def test_parameters_are_refused_without_anything_heavy():
    finished = subprocess.run([sys.executable, "-c", ALL_GROUPS], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []
