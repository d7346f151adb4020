import re

import numpy as np
import pandas as pd
import pytest

from lafs_pipeline.reporting.landmarks import (
    landmarks_picture,
    plot_landmarks,
    quality_sentence,
    quality_table,
)


def test_every_set_of_landmarks_stands_on_all_faces():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 112, 112, 3), np.uint8)
    sets = {name: rng.uniform(0, 112, (4, 9, 2)) for name in ("before", "after")}
    figure = plot_landmarks(images, sets)
    assert [block.get_suptitle() for block in figure.subfigs] == ["before", "after"]
    for block, points in zip(figure.subfigs, sets.values(), strict=True):
        drawn = [axis for axis in block.axes if axis.images]
        assert len(drawn) == 4
        for axis, image, own in zip(drawn, images, points, strict=True):
            np.testing.assert_array_equal(axis.images[0].get_array(), image)
            np.testing.assert_allclose(axis.collections[0].get_offsets(), own)
    picture = landmarks_picture(images, sets)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


def measured(**values):
    return pd.DataFrame({"training": ["before", "after"], "crop_px": 5.0, "crop_if_still_px": 8.0} | values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"points_error": [0.09, 0.06], "mean_shape_error": 0.08},
            "to 6.0 % .* to 8.0 %: landmarks tell more",
        ),
        (
            {"points_error": [0.06, 0.09], "mean_shape_error": 0.08},
            "to 9.0 % .* to 8.0 %: landmarks tell no more",
        ),
        # What is shown alike is no difference.
        (
            {"points_error": 0.0796, "mean_shape_error": 0.0804},
            "to 8.0 % .* to 8.0 %: landmarks tell no more",
        ),
        (
            {"points_error": np.nan, "mean_shape_error": np.nan},
            "No annotated points.* 5.0 px .* 8.0 px: they follow it more",
        ),
        ({"crop_px": 8.02}, "No annotated points.* 8.0 px .* 8.0 px: they follow it no more"),
    ],
)
def test_no_more_is_claimed_than_the_figures_say(values, said):
    quality = measured(**values)
    assert re.search(said, quality_sentence(quality))
    assert quality_table(quality).rows[-1][0] == "after"


def test_what_is_not_known_has_no_column():
    table = quality_table(measured(points_error=np.nan, covered=0.5))
    assert list(table.columns) == [
        "training",
        "moved by a crop, px",
        "if they stood still, px",
        "image covered",
    ]
    assert table.rows == [["before", "5.0", "8.0", "50 %"], ["after", "5.0", "8.0", "50 %"]]
