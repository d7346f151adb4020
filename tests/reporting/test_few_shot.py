import pytest
from tests.evaluation.few_shot_results import made_up

from lafs_pipeline.evaluation.few_shot import FewShotResult
from lafs_pipeline.reporting.few_shot import plot_few_shot


def test_the_picture_shows_every_method_and_shot():
    figure = plot_few_shot(made_up(0.05), {"lfw": 0.6})
    (panel,) = figure.axes
    (chance,) = [line for line in panel.lines if line.get_label() == "chance"]
    assert chance.get_ydata()[0] == pytest.approx(60)
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["chance", "scratch", "lafs"]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "4"]
    assert panel.get_title() == "lfw, 5 seeds"


def test_no_shots_stand_first_and_no_method_is_left_out():
    methods = [f"method {number}" for number in range(8)]
    results = [
        FewShotResult(method, shots, 0, "lfw", (0.5, 0.6)) for shots in (4, 0, 1) for method in methods
    ]
    (panel,) = plot_few_shot(results, {"lfw": 0.5}).axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "1", "4"]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["chance", *methods]
