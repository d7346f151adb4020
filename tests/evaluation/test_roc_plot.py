import io

import numpy as np
import pytest
from matplotlib import pyplot

from lafs_pipeline.evaluation.roc_plot import plot_roc
from lafs_pipeline.evaluation.verification import VerificationResult, verify_pairs


def made_up_result(noise: float) -> VerificationResult:
    rng = np.random.default_rng(0)
    is_same = np.arange(400) % 2 == 0
    a = rng.standard_normal((400, 8))
    b = np.where(is_same[:, None], a, rng.standard_normal(a.shape)) + noise * rng.standard_normal(a.shape)
    return verify_pairs(a, b, is_same)


def test_each_model_has_a_curve_and_its_accuracy():
    results = {"good": made_up_result(0.5), "poor": made_up_result(3.0)}
    figure = plot_roc(results, "Made-up pairs")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.get_title() == "Made-up pairs"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    for (name, result), line, label in zip(results.items(), axes.lines, labels, strict=True):
        assert name in label
        assert f"{result.accuracy:.2%}" in label
        drawn = np.interp([0.01, 0.1, 0.5], *line.get_data())
        true = np.interp([0.01, 0.1, 0.5], result.false_accept_rate, result.true_accept_rate)
        np.testing.assert_allclose(drawn, true)
    assert axes.get_xlim()[0] > 0


@pytest.mark.parametrize("noise", [0.0, 1e3])
def test_perfect_and_useless_models_can_be_drawn_and_saved(noise):
    before = pyplot.get_fignums()
    figure = plot_roc({"model": made_up_result(noise)}, "")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert stream.getvalue().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == before
