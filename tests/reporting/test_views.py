import numpy as np
import pytest

from lafs_pipeline.reporting.views import plot_views
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.sources.synthetic.faces import draw_face
from lafs_pipeline.views.parameters import ViewSettings
from lafs_pipeline.views.render import LafsViews


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return draw_face(0, 0, 0).image


@pytest.mark.parametrize(("clean", "rows"), [(True, 2), (False, 1)])
def test_every_view_has_a_cell_in_every_row(picture, clean, rows):
    views = LafsViews(ViewSettings(local_size=48), clean=clean)(picture, random_generator("montage"))
    figure = plot_views(views)
    assert len(figure.axes) == 10 * rows
    shown = [cell.images[0].get_array() for cell in figure.axes]
    np.testing.assert_array_equal(shown[-1], views.local_appearance[-1])
    np.testing.assert_array_equal(shown[0], (views.global_clean if clean else views.global_appearance)[0])
    assert [cell.get_title() for cell in figure.axes[:3]] == ["global 1", "global 2", "local 1"]


def test_landmarks_are_drawn_on_the_clean_and_chosen_ones_on_the_appearance_copy(picture):
    views = LafsViews(ViewSettings())(picture, random_generator("montage"))
    landmarks = [np.full((5, 2), index) for index in range(10)]
    chosen = [np.full((2, 2), 50 + index) for index in range(10)]
    axes = plot_views(views, landmarks, chosen).axes
    np.testing.assert_array_equal(axes[3].collections[0].get_offsets(), landmarks[3])
    np.testing.assert_array_equal(axes[13].collections[0].get_offsets(), chosen[3])
