"""The notebooks run from top to bottom, and are kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def test_there_are_two():
    assert NOTEBOOKS == ["01_from_faces_to_table.ipynb", "02_your_own_faces.ipynb"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_outputs_are_cleared(name):
    cells = nbformat.read(FOLDER / name, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NOTEBOOKS[0], ["accuracy", "True", "of_the_pipeline"]),
        (NOTEBOOKS[1], ["16 people", "named rightly", "of_the_pipeline"]),
    ],
)
def test_it_runs(name, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("LAFS_FACES", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("LAFS_DATA", str(tmp_path / "data"))
    table = tmp_path / "data" / "08_reporting" / "benchmarks.csv"
    table.parent.mkdir(parents=True)
    table.write_text("model,benchmark,metric,value\nof_the_pipeline,lfw,accuracy,0.9\n", encoding="utf-8")
    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = "\n".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs
    )
    for text in expected:
        assert text in shown
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    nbformat.write(notebook, tmp_path / name)
