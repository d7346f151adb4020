"""Nothing that a node needs lies only in memory."""

import os
import shutil
import subprocess
import sys

import pytest
from tests.end_to_end.conftest import PROJECT

from lafs_pipeline.interop.model_header import read_digest
from lafs_pipeline.pipeline_registry import register_pipelines


@pytest.mark.slow
def test_every_node_runs_alone_on_what_a_whole_run_has_left(smoke, tmp_path):
    data = shutil.copytree(smoke, tmp_path / "data")
    models = {path: read_digest(path) for path in (data / "06_models").glob("*s/*.safetensors")}
    finished = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.every_node"],
        cwd=PROJECT,
        env=os.environ | {"LAFS_DATA": str(data), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    ran = {line.removeprefix("ran ") for line in finished.stdout.splitlines() if line.startswith("ran ")}
    assert ran == {node.name for node in register_pipelines()["__default__"].nodes}
    assert len(models) == 7
    assert {path: read_digest(path) for path in models} == models
