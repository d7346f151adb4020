import io

import numpy as np
import pytest
from matplotlib import pyplot

from lafs_pipeline.evaluation.resampling import pair_units
from lafs_pipeline.evaluation.results import BenchmarkResult, Facts
from lafs_pipeline.evaluation.verification import Resampling, verify_pairs
from lafs_pipeline.reporting.roc import plot_roc

FACTS = Facts(400, 10, None, 0, 0, None, True, False, False, "arcface-112, as given", "0" * 64, "0" * 32)


def made_up_result(noise: float, benchmark: str = "lfw", group: str | None = None) -> BenchmarkResult:
    rng = np.random.default_rng(0)
    is_same = np.arange(400) % 2 == 0
    a = rng.standard_normal((400, 8))
    b = np.where(is_same[:, None], a, rng.standard_normal(a.shape)) + noise * rng.standard_normal(a.shape)
    unknown = np.full(400, -1)
    result = verify_pairs(a, b, is_same, 10, Resampling(pair_units(is_same, unknown, unknown, 0), 50, 0))
    curve = result.false_accept_rate, result.true_accept_rate
    return BenchmarkResult(
        benchmark, group, result.metrics(), result.intervals, "pair", 50, FACTS, *curve, result.fold_accuracy
    )


def test_each_model_has_a_curve_and_its_accuracy():
    results = {"good": [made_up_result(0.5)], "poor": [made_up_result(3.0)]}
    figure = plot_roc(results)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.get_title() == "lfw"
    *labels, chance = [text.get_text() for text in axes.get_legend().get_texts()]
    *curves, diagonal = axes.lines
    assert chance == "chance"
    np.testing.assert_array_equal(*diagonal.get_data())
    for (name, (result,)), line, label in zip(results.items(), curves, labels, strict=True):
        interval = result.intervals["accuracy"]
        assert label == (
            f"{name}: accuracy {result.metrics['accuracy']:.2%} [{interval.low:.2%}, {interval.high:.2%}]"
        )
        drawn = np.interp([0.01, 0.1, 0.5], *line.get_data())
        true = np.interp([0.01, 0.1, 0.5], result.false_accept_rate, result.true_accept_rate)
        np.testing.assert_allclose(drawn, true)
    assert axes.get_xlim()[0] > 0


def test_each_benchmark_has_a_panel_and_groups_have_none():
    names = ["lfw", "cfp_fp", "agedb_30", "calfw"]
    results = [made_up_result(0.5, name) for name in names] + [made_up_result(0.5, "lfw", "young")]
    figure = plot_roc({"model": results})
    assert [axes.get_title() for axes in figure.axes if axes.lines] == names


def test_names_are_no_formulas():
    figure = plot_roc({r"a$\frac$": [made_up_result(0.5, r"$\frac$")]})
    figure.savefig(io.BytesIO(), format="png")
    assert r"\$\frac\$" in figure.axes[0].get_title()


@pytest.mark.parametrize("noise", [0.0, 1e3])
def test_perfect_and_useless_models_can_be_drawn_and_saved(noise):
    before = pyplot.get_fignums()
    figure = plot_roc({"model": [made_up_result(noise)]})
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert stream.getvalue().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize("panels", [1, 4])
def test_every_model_has_a_line_of_its_own_and_the_legend_covers_nothing(panels):
    results = [made_up_result(0.5, f"benchmark {number}") for number in range(panels)]
    figure = plot_roc({f"model {number}": results for number in range(8)})
    figure.savefig(io.BytesIO(), format="png")
    for axes in figure.axes[:panels]:
        styles = {line.get_color() for line in axes.lines}
        assert len(styles) == 9
        legend = axes.get_legend().get_window_extent()
        assert not legend.overlaps(axes.xaxis.label.get_window_extent())
        assert not legend.overlaps(axes.bbox)
