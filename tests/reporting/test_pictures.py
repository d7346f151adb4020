import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lafs_pipeline.reporting.pictures import pixels


def test_pixels_are_those_of_a_saved_file():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0], color="red")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    picture = pixels(figure)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.asarray(Image.open(stream).convert("RGB")))
