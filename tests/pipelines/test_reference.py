"""The pages about the pipelines say what the code says."""

from pathlib import Path

import pytest
from docs.reference import pages, parameter_rows

from lafs_pipeline.training.recipes.settings import PretrainSettings

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "docs" / "pipelines"


def test_the_committed_pages_are_those_of_the_code():
    written = pages(PROJECT)
    assert sorted(path.name for path in FOLDER.glob("*.md")) == sorted(written)
    for name, text in written.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, "run: make docs"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pretrain.prototypes", ("whole number, at least 2", "100000", "64")),
        ("pretrain.training.epochs", ("whole number, at least 1", "41", "")),
        ("pretrain.training.clip_norm", ("number or null, above 0", "3", "")),
        ("pretrain.methods", ("list of `grid` or `lafs`", "[lafs]", "")),
        ("pretrain.views.global_scale", ("2 numbers", "[0.4, 1]", "")),
    ],
)
def test_a_row_has_bounds_the_recipes_default_and_the_demos_value(name, expected):
    rows = {row[0]: row for row in parameter_rows(PretrainSettings, None, {"prototypes": 64}, "pretrain")}
    assert rows[name][1:4] == expected
