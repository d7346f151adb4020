"""Every plot that shows names of a user's takes any name."""

import itertools

import pytest
from tests.evaluation.few_shot_results import FewShotResult
from tests.reporting.test_roc import made_up_result

from lafs_pipeline.cataloging.card import describe_dataset
from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.reporting.curves import LONGEST_NAME, plain
from lafs_pipeline.reporting.dataset_card import plot_card, plot_contact_sheet
from lafs_pipeline.reporting.few_shot import plot_few_shot
from lafs_pipeline.reporting.roc import plot_roc
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.synthetic.faces import draw_face

NAMES = [r"$\frac{$", "a$b$c", "_hidden", "x" * 200, "two\nlines", "50 % & <b>"]


def draw(figure):
    figure.draw_without_rendering()


@pytest.mark.parametrize("name", NAMES)
def test_plots_of_scores(name):
    figure = plot_roc({name: [made_up_result(0.5, name)]})
    draw(figure)
    assert len(figure.axes[0].get_legend().get_texts()) == 2
    few_shot = plot_few_shot(
        [FewShotResult(name, shots, 0, name, (0.5, 0.6)) for shots in (1, 4)], {name: 0.5}
    )
    draw(few_shot)
    assert len(few_shot.axes[0].get_legend().get_texts()) == 2
    assert len(plain(name)) <= LONGEST_NAME + 2 * name.count("$")


def test_plots_of_a_data_set(tmp_path):
    for person, name in enumerate(NAMES):
        folder = tmp_path / "faces" / name
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{number}.jpg").write_bytes(encode_jpeg(draw_face(0, person, number).image))
    source = SourceSettings(path=str(tmp_path / "faces"), aligned=True)
    held_out = BenchmarkSettings(kind="held_out", source=NAMES[1], identities=2, pairs=4, folds=2)
    settings = CatalogSettings(sources={NAMES[1]: source}, benchmarks={NAMES[0]: held_out}, threads=1)
    found = catalog_faces(settings, 0, tmp_path / "stores")
    card = describe_dataset(found.manifest, found.duplicates, found.overlap, found.rejected)
    draw(plot_card(found.manifest, card))
    sheet = plot_contact_sheet(found.manifest)
    draw(sheet)
    labels = [axis.yaxis.label for axis in sheet.axes if axis.get_ylabel()]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
    assert len(boxes) == len(NAMES)
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))
