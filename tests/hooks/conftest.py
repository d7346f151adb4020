"""Real `kedro run` processes that can be watched and killed, and a real MLflow server."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from tests.servers import MlflowServer
from tests.waiting import until

PROJECT = Path(__file__).parents[2]
PATIENCE = 600
"""Seconds after which a test gives up."""


class KedroRun:
    """A running `kedro run --env smoke <arguments>`."""

    def __init__(self, data, *arguments, **environment):
        variables = {
            "LAFS_DATA": str(data),
            "MLFLOW_TRACKING_URI": f"sqlite:///{data}/mlflow.db",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "250",
            "PYTHONUNBUFFERED": "1",
        }
        # A shell ignores SIGINT for what it starts in the background, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("kedro"), "run", "--env", "smoke", *arguments],
            cwd=PROJECT,
            env=os.environ | variables | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._parts = {"stdout": [], "stderr": []}
        self._readers = [threading.Thread(target=self._read, args=(name,)) for name in self._parts]
        for reader in self._readers:
            reader.start()

    def _read(self, name):
        for line in getattr(self.process, name):
            self._parts[name].append(line)

    @property
    def stdout(self):
        return "".join(self._parts["stdout"])

    @property
    def stderr(self):
        return "".join(self._parts["stderr"])

    def wait_for(self, text):
        """Until the process has said something."""
        until(lambda: text in self.stdout + self.stderr or self.process.poll() is not None)
        assert text in self.stdout + self.stderr, self.stdout[-3000:] + self.stderr[-3000:]

    def wait_while_it_runs(self, condition):
        """Until the condition holds, before the process ends."""
        until(lambda: self.process.poll() is not None or condition())
        assert self.process.poll() is None, self.stdout[-3000:] + self.stderr[-3000:]

    def wait_for_file(self, path, condition):
        """Until the text of a file is as wanted."""
        self.wait_while_it_runs(lambda: path.exists() and condition(path.read_text()))

    def finish(self):
        """The exit status, when everything it said is read."""
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return self.process.returncode

    def kill(self):
        """As the kernel does when memory runs out."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.finish()


@pytest.fixture
def kedro_run():
    """Starts `kedro run`, and ends it with the test."""
    runs = []

    def start(data, *arguments, **environment):
        runs.append(KedroRun(data, *arguments, **environment))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.kill()


@pytest.fixture(scope="session")
def cataloged(tmp_path_factory):
    """The data folder after cataloging and stage 1."""
    data = tmp_path_factory.mktemp("cataloged")
    run = KedroRun(data, "--pipelines=cataloging,landmarks")
    assert run.finish() == 0, run.stderr[-3000:]
    return data


@pytest.fixture
def data(cataloged, tmp_path):
    """A data folder of this test alone, ready for pretraining."""
    return shutil.copytree(cataloged, tmp_path / "data")


def tracked_runs(tracking_uri):
    """Every run of the project that a store holds, from the oldest to the newest."""
    client = MlflowClient(tracking_uri)
    experiments = client.search_experiments(filter_string="name LIKE 'lafs_pipeline%'")
    found = [experiment.experiment_id for experiment in experiments]
    return client.search_runs(found, order_by=["attributes.start_time ASC"]) if found else []


@pytest.fixture
def runs():
    """Every run of the project that a store holds, from the oldest to the newest."""
    return tracked_runs


@pytest.fixture
def server(tmp_path):
    """A server that is not yet started."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = MlflowServer(folder)
    yield server
    server.stop()
