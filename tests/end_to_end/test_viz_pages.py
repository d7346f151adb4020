"""Kedro-Viz as a browser shows it: served from the project, and as the static site that it builds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.end_to_end.browser import available, chromium
from tests.servers import free_port, serving

from lafs_pipeline.pipeline_registry import STAGES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available(), reason="chromium and chromedriver are not installed"),
]
PROJECT = Path(__file__).parents[2]
KEDRO = Path(sys.executable).with_name("kedro")
LAYERS = ["intermediate", "primary", "feature", "models", "model_output", "reporting"]
"""In the order of the data."""
FOREIGN = (
    "Experimental features",  # a greeting
    "/api/metadata",  # asked for, but not written into a static site
    "is not valid JSON",  # the page that says so
)
"""Kedro-Viz's own words in the console."""
NODES = """return [...document.querySelectorAll(`.pipeline-node--${arguments[0]}`)]
    .map(node => node.textContent).sort()"""
LAYER_NAMES = "return [...document.querySelectorAll('.pipeline-layer-name')].map(name => name.textContent)"
DRAWN = "return document.querySelector('.pipeline-node--modularPipeline') !== null"
OPENED = "return document.querySelector('.pipeline-metadata__title')?.textContent === arguments[0]"
ROWS = """return [...document.querySelectorAll(`${arguments[0]} tr`)]
    .map(row => [...row.children].map(cell => cell.textContent))"""
PICTURE_WIDTH = "return document.querySelector(arguments[0])?.naturalWidth"
BOX, DATASET, TASK = (f".pipeline-node--{kind}" for kind in ("modularPipeline", "data", "task"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, for `kedro viz build` writes into it."""
    folder = tmp_path_factory.mktemp("viz") / "project"
    for part in ("conf", "src"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def variables(smoke):
    return {"LAFS_DATA": str(smoke), "MLFLOW_TRACKING_URI": f"sqlite:///{smoke}/mlflow.db"}


@pytest.fixture(scope="module")
def served(project, variables):
    """The address of `kedro viz run`."""
    port = free_port()
    command = [KEDRO, "viz", "run", "--no-browser", f"--port={port}", "--env=smoke"]
    with serving(command, port, "/api/main", project, **variables) as address:
        yield address


@pytest.fixture(scope="module")
def built(project, variables):
    """The address of what `kedro viz build` leaves, behind a server of files."""
    command = [KEDRO, "viz", "build", "--include-previews"]
    finished = subprocess.run(
        command, cwd=project, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert (project / "build/index.html").exists(), finished.stdout[-3000:] + finished.stderr[-3000:]
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind=127.0.0.1", "--directory=build"]
    with serving(command, port, "/", project) as address:
        yield address


@pytest.fixture(params=["served", "built"])
def page(request, tmp_path):
    """The default pipeline's graph, in a window without the tour of a first visit."""
    address = request.getfixturevalue(request.param)
    with chromium(tmp_path) as window:
        window.size(1600, 1000)
        window.remember("KedroViz", '{"showFeatureHints": false}')
        window.open(address)
        window.wait_for(DRAWN)
        yield window
        said = [message for message in window.console() if message.startswith(address)]
        assert [message for message in said if not any(words in message for words in FOREIGN)] == []


def test_the_graph_with_its_boxes_tables_and_pictures(page, smoke, tmp_path):
    assert page.run(NODES, "modularPipeline") == sorted(STAGES)
    assert page.run(NODES, "task") == page.run(NODES, "parameters") == []
    assert page.run(LAYER_NAMES) == LAYERS
    page.screenshot(tmp_path / "graph.png")

    page.click(DATASET, "benchmarks")
    page.wait_for(OPENED, "benchmarks")
    table = pd.read_csv(smoke / "08_reporting/benchmarks.csv")
    header, *rows = page.wait_for(ROWS, ".pipeline-metadata .preview-table")
    assert header == list(table.columns)
    assert [row[:4] for row in rows] == table[header[:4]].astype(object).fillna("null").to_numpy().tolist()
    page.screenshot(tmp_path / "table.png")

    page.click(DATASET, "report")
    page.wait_for(OPENED, "report")
    page.wait_for_text("Face recognition report: synthetic")
    page.screenshot(tmp_path / "report.png")

    page.click(DATASET, "contact_sheet_plot")
    page.wait_for(OPENED, "contact_sheet_plot")
    assert page.wait_for(PICTURE_WIDTH, ".pipeline-metadata__plot-image") > 500
    page.click("button", "Expand preview")
    assert page.wait_for(PICTURE_WIDTH, ".pipeline-metadata__plot-image--expanded") > 500
    page.screenshot(tmp_path / "picture.png")


def test_a_box_opens_and_its_node_shows_the_parameters(page, tmp_path):
    page.click(BOX, "pretrain")
    assert page.wait_for(NODES, "task") == ["pretrain_backbones", "view_montage"]
    page.click(TASK, "pretrain_backbones")
    page.wait_for(OPENED, "pretrain_backbones")
    page.wait_for_text("params:pretrain", '"pretrain":', "kedro run --to-nodes='pretrain.pretrain_backbones'")
    page.screenshot(tmp_path / "node.png")
