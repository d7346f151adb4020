"""Text in the catalog, and what Kedro-Viz shows of it."""

import json

import pytest
from kedro.io import DatasetError

from lafs_pipeline.datasets.text_dataset import TextDataset

PAGE = """<!doctype html><html><body><header><h1>Report: a &amp; b</h1>
<p><strong>LAFS</strong> is
better.</p><table><tr><td>0.5</td></tr></table></header><main><p>More.</p></main></body></html>"""


def test_text_comes_back_whole_in_utf8(tmp_path):
    dataset = TextDataset(f"{tmp_path}/below/said.txt")
    dataset.save("ä ± ü\nand more\n")
    assert (tmp_path / "below/said.txt").read_bytes() == "ä ± ü\nand more\n".encode()
    assert dataset.load() == "ä ± ü\nand more\n"
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["said.txt"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("One.\nTwo.\n", ["One.", "Two."]), ("", []), (PAGE, ["Report: a & b", "LAFS is better."])],
)
def test_a_preview_says_what_stands_first(tmp_path, text, shown):
    dataset = TextDataset(f"{tmp_path}/said")
    dataset.save(text)
    assert json.loads(dataset.preview()) == shown
    assert dataset.preview.__annotations__["return"].__name__ == "JSONPreview"


def test_without_a_file(tmp_path):
    dataset = TextDataset(f"{tmp_path}/said.txt")
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"said\.txt"):
        dataset.load()
