import numpy as np

from lafs_pipeline.reporting.landmarks import landmarks_picture, plot_landmarks


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
