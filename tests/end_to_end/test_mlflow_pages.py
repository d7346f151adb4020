"""MLflow's pages as a browser shows them, over the runs of two methods."""

import json
import shutil
import sys
from dataclasses import dataclass

import cv2
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from tests.end_to_end.browser import available, chromium
from tests.servers import free_port, serving

from lafs_pipeline.tracking.facts import experiment_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available(), reason="chromium and chromedriver are not installed"),
]
FOREIGN = (
    "/mlflow/users/current",  # asked for whether or not the server knows users
    "AG Grid: since v27.1",
    "ResizeObserver loop completed",
    "WebGL",  # drawn without a graphics card
)
"""What MLflow itself, the parts that it is made of and the browser write into the console."""
GRID = "pretrain.methods=[grid]"
ACCURACY = "accuracy/held_out/lafs"
MEMORY = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",  # else a panel opens at a first visit
    "mlflow.workflowType_v1": '"machine_learning"',  # pages of trainings, not of chats
}
"""What MLflow remembers of a visitor."""
CHECKBOX = (
    "[data-testid='column-selector-tree'] [class*=treenode]:has(span[title='{}']) [class*=tree-checkbox]"
)
CHECKED = "return document.querySelector(arguments[0])?.className.includes('checkbox-checked')"
COLUMN = """const header = [...document.querySelectorAll('.ag-header-cell')]
        .find(cell => cell.textContent.trim() === arguments[0]);
    return header && [...document.querySelectorAll('.ag-center-cols-container .ag-cell')]
        .filter(cell => cell.getAttribute('col-id') === header.getAttribute('col-id'))
        .map(cell => cell.textContent.trim())"""
ROWS = """return [...document.querySelectorAll('tr, [role=row]')]
    .map(row => [...row.querySelectorAll('td, th, [role=cell], [role=columnheader]')]
        .map(cell => cell.textContent.trim()))"""
CURVES = """return [...document.querySelectorAll('.js-plotly-plot')]
    .filter(plot => plot.querySelectorAll('.scatterlayer .js-line').length >= 2).length >= 3"""
SECTION = """const header = [...document.querySelectorAll('[aria-expanded]')]
        .find(found => found.textContent.trim().startsWith(arguments[0]));
    header?.scrollIntoView();
    return header !== undefined"""
"""Charts are drawn once they come into view."""
AXES = """return [...(document.querySelector('.js-plotly-plot')?.querySelectorAll('.axis-title') ?? [])]
    .map(title => title.textContent)"""
"""Of the first plot."""
PICTURE = """return [...document.images].some(image =>
    image.src.startsWith('blob:') && image.naturalWidth === arguments[0] && image.checkVisibility())"""
BRING = """const rows = [...document.querySelectorAll('tr')];
    const row = rows.find(row => row.textContent.startsWith(arguments[0]));
    row?.scrollIntoView({block: 'center'});
    return row !== undefined"""


@dataclass(frozen=True)
class Store:
    """What a server shows: a whole run with LAFS, and pretraining, adaptation and evaluation on the grid."""

    address: str
    experiment: str
    lafs: Run
    grid: Run

    def page(self, path: str) -> str:
        return f"{self.address}/#/experiments/{self.experiment}/runs{path}"


@pytest.fixture(scope="module")
def store(kedro, smoke, tmp_path_factory):
    data = tmp_path_factory.mktemp("pages") / "data"
    shutil.copytree(smoke, data)
    pipelines = "--pipelines=pretrain,adapt,evaluate"
    finished = kedro(data, "run", "--env", "smoke", pipelines, "--params", GRID)
    assert finished.returncode == 0, finished.stderr[-3000:]
    database = f"sqlite:///{data}/mlflow.db"
    client = MlflowClient(database)
    experiment = client.get_experiment_by_name("lafs_pipeline").experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}"]
    command += [f"--backend-store-uri={database}", "--workers=1"]
    with serving(command, port, "/health", data, MLFLOW_DISABLE_TELEMETRY="true") as address:
        yield Store(address, experiment, runs[0], runs[-1])


@pytest.fixture
def window(tmp_path, store):
    """A window of somebody who has been here before."""
    with chromium(tmp_path) as opened:
        opened.size(1600, 1000)
        for key, value in MEMORY.items():
            opened.remember(key, value)
        yield opened
        said = [message for message in opened.console() if not any(words in message for words in FOREIGN)]
        assert said == []


def test_the_list_of_runs_with_methods_and_results(window, store, tmp_path):
    window.size(2000, 1000)
    window.open(store.page(""))
    window.wait_for_text(store.lafs.info.run_name, store.grid.info.run_name)
    window.click("[data-testid=column-selection-dropdown]", "Columns")
    for name in ("method", ACCURACY):
        window.click(CHECKBOX.format(name))
        window.wait_for(CHECKED, CHECKBOX.format(name))
    window.click("[data-testid=column-selection-dropdown]", "Columns")
    methods = window.wait_for(COLUMN, "method")
    assert [methods[0], methods[-1]] == ["grid", "grid+lafs"]
    shown = window.wait_for(COLUMN, ACCURACY)
    expected = [run.data.metrics[ACCURACY] for run in (store.grid, store.lafs)]
    assert [float(shown[0]), float(shown[-1])] == pytest.approx(expected, abs=1e-3)
    window.screenshot(tmp_path / "runs.png")


def test_scores_and_curves_of_both_methods_in_one_chart(window, store, tmp_path):
    window.open(experiment_page(store.address, "", store.experiment))
    window.wait_for_text(ACCURACY, *(f"{run.data.metrics[ACCURACY]:.2f}" for run in (store.lafs, store.grid)))
    shown = window.text()
    assert shown.index(ACCURACY) < shown.index("adapt_lafs")
    window.screenshot(tmp_path / "scores.png")
    window.wait_for(SECTION, "adapt_scratch")
    curve = "adapt_scratch/embedding_std"
    for run in (store.lafs, store.grid):
        window.wait_for_text(f"{run.info.run_name} ({curve})")
    window.wait_for(CURVES)
    window.screenshot(tmp_path / "charts.png")


def test_the_page_of_a_run(window, store, tmp_path):
    run = store.lafs
    window.open(store.page(f"/{run.info.run_id}"))
    window.wait_for_text(run.info.run_name, "stage1/loss", "pretrain.methods")
    window.screenshot(tmp_path / "run.png")
    rows = window.run(ROWS)
    parameters = [row[0] for row in rows if row and row[0] in run.data.params]
    assert parameters[:5] == ["pipeline", "dataset", "method", "model", "shots"]
    assert {"pretrain.methods", "adapt.shots", "model.sizes.depth"} <= set(parameters)
    accuracies = {row[1]: row[2] for row in rows if row[:1] == ["held_out"]}
    assert accuracies == {
        model: f"{run.data.metrics[f'accuracy/held_out/{model}']:.4f}"
        for model in ("stage1", "scratch", "grid", "lafs", "scratch_frozen", "grid_frozen", "lafs_frozen")
    }
    window.wait_for_text(
        *(f"{data.dataset.name} ({data.dataset.digest})" for data in run.inputs.dataset_inputs[:1])
    )
    window.wait_for_text("lafs_face_model")


def test_a_picture_among_the_artifacts(window, store, smoke, tmp_path):
    window.open(store.page(f"/{store.lafs.info.run_id}/artifacts/view_montage.png"))
    window.wait_for_text("benchmarks.csv", "report.html", "landmark_network.safetensors")
    _, width, _ = cv2.imread(str(smoke / "08_reporting/view_montage.png")).shape
    window.wait_for(PICTURE, width)
    window.screenshot(tmp_path / "picture.png")


def test_methods_side_by_side(window, store, tmp_path):
    runs = ",".join(f"%22{run.info.run_id}%22" for run in (store.lafs, store.grid))
    window.open(f"{store.address}/#/compare-runs?runs=[{runs}]&experiments=[%22{store.experiment}%22]")
    window.wait_for_text("pretrain.methods", ACCURACY)
    assert window.wait_for(AXES)[-1] == "accuracy"
    rows = {row[0]: row[1:] for row in window.run(ROWS) if len(row) == 3}
    assert rows["Run Name:"] == [store.lafs.info.run_name, store.grid.info.run_name]
    assert rows["method"] == ["grid+lafs", "grid"]
    assert [json.loads(shown) for shown in rows["pretrain.methods"]] == [["grid", "lafs"], ["grid"]]
    for run in (store.lafs, store.grid):
        window.wait_for_text(f"{round(run.data.metrics[ACCURACY], 3):g}")
    window.wait_for(BRING, "pretrain.methods")
    window.screenshot(tmp_path / "compared.png")
