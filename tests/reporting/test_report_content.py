"""What the page tells is what its tables say."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from tests.reporting.html_page import Page
from tests.reporting.made_up_report import (
    QUALITY,
    changed,
)

from lafs_pipeline.evaluation.few_shot import few_shot_table, paired_differences
from lafs_pipeline.evaluation.study import study_frame
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.reporting.history import History
from lafs_pipeline.reporting.landmarks import quality_sentence
from lafs_pipeline.reporting.report import LIMITS, choose_study, render_report
from lafs_pipeline.reporting.tables import PUBLISHED, metric_name, model_name
from lafs_pipeline.runtime.errors import LafsError


def test_scores_are_those_of_the_table(page, complete):
    first, second = page.table("", "stage 1", "scratch", "LAFS")[1:]
    for name, table in (("bench", first), ("other", second)):
        cells = {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}
        for row in complete.benchmarks[complete.benchmarks["benchmark"] == name].itertuples():
            shown = cells[metric_name(row.metric)][model_name(row.model)]
            assert shown.startswith(f"{100 * row.value:.2f} %")
            interval = f"[{100 * row.low:.2f}, {100 * row.high:.2f}]"
            assert shown.endswith(interval) == (row.metric == "accuracy")
    assert "95%, bootstrap by identity, 50 resamples" in " ".join(page.text)


def test_flags_fingerprints_and_digests(page, complete):
    (flags,) = page.table("F", "N", "D")
    assert len(flags) == 3
    row = dict(zip(flags[0], flags[1], strict=True))
    assert row["models"] == "stage 1, scratch, LAFS"
    assert (row["F"], row["N"], row["D"]) == ("yes", "no", "yes")
    assert row["alignment"] == "arcface-112"
    assert (row["pairs"], row["overlap"], row["left out"]) == ("123", "5", "3, 4")
    (compared,) = page.table("fingerprint of its faces")
    assert compared[1:] == [["bench", "f" * 32], ["other", "f" * 32]]
    (models,) = page.table("SHA-256 of sizes and weights")
    assert [line[1] for line in models[1:]] == ["stage1digest", "scratchdigest", "lafsdigest"]
    assert complete.card["fingerprint"] in page.text


def test_the_trainings(page):
    (table,) = page.table("last loss")
    assert [row[0] for row in table[1:]] == ["stage1", "pretrain_lafs", "own"]
    row = dict(zip(table[0], table[1], strict=True))
    assert (row["steps"], row["seed"], row["last k-NN"]) == ("8", "11", "37.50 %")
    assert row["training faces"] == "d" * 32
    drawn = [
        attributes["alt"] for tag, attributes in page.elements if tag == "img" and "step" in attributes["alt"]
    ]
    assert len(drawn) == 3 * 4
    assert "Pretraining: teacher entropy, nats over optimizer steps" in drawn


def test_published_results_are_marked_and_linked(html, page):
    (table,) = page.table("published method")
    assert len(table) == 1 + len(PUBLISHED)
    assert table[1][:4] == ["LAFS + Part fViT", "WebFace4M", "96.28 %", "97.58 %"]
    assert "Published, not measured here." in page.text
    assert {row.address for row in PUBLISHED} == set(re.findall(r'href="(https:[^"]+)"', html))


def test_hardest_pairs_are_shown_with_keys_score_and_their_own_images(page, complete):
    text = " ".join(page.text)
    faces = FaceImages(complete.faces)
    images = [faces[place] for place in range(len(faces))]
    for row in complete.hardest.itertuples():
        for key in (row.key_a, row.key_b):
            (picture,) = [a for tag, a in page.elements if tag == "img" and a["alt"] == f"face {key}"]
            shown = Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2])))
            distances = [np.abs(np.asarray(shown).astype(int) - image).mean() for image in images]
            assert complete.faces["key"].iloc[np.argmin(distances)] == key
            assert key in text
        assert f"{row.similarity:.4f}" in text
    assert "threshold 0.5200 (fold 2)" in text
    assert "one of 4 images of its template" in text
    assert "7 of 60 pairs of different people are accepted." in text
    assert "9 of 40 pairs of one person are rejected." in text


def test_differences_are_told_in_points_with_their_paired_interval(page, complete):
    table = page.table("", "scratch", "LAFS")[-1]
    assert [row[0] for row in table[1:]] == [
        f"{name}: accuracy, stage 1 being the reference" for name in ("bench", "other")
    ]
    values = complete.benchmarks.set_index(["benchmark", "metric", "model"])
    for name, line in zip(("bench", "other"), table[1:], strict=True):
        row = values.loc[(name, "accuracy", "lafs")]
        shown = [float(number) for number in re.findall(r"[+-][\d.]+", line[2])]
        expected = 100 * row[["difference", "difference_low", "difference_high"]].astype(float)
        assert shown == pytest.approx(expected.tolist(), abs=0.0051)
        assert row["difference"] == row["value"] - values.loc[(name, "accuracy", "stage1"), "value"]


def test_where_models_disagree_both_faces_are_shown(page, complete):
    text = " ".join(page.text)
    assert "bench: LAFS right, stage 1 wrong" in text
    assert "1,100 pairs." in text
    assert "bench: stage 1 right, LAFS wrong" in text
    for row in complete.disagreements.itertuples():
        for key in (row.key_a, row.key_b):
            assert len([a for tag, a in page.elements if tag == "img" and a["alt"] == f"face {key}"]) == 1
    assert "-0.1234" in text
    assert "+0.2500" in text


def test_few_shot_tables_or_the_command_that_makes_them(page, complete):
    (table,) = page.table("seeds", "shots")
    for row in few_shot_table(complete.study).itertuples():
        cells = [dict(zip(table[0], line, strict=True)) for line in table[1:] if line[1] == str(row.shots)]
        assert [cell[model_name(row.method)] for cell in cells] == [f"{row.mean:.2f} % ± {row.std:.2f}"]
    (differences,) = page.table("points")
    for row, cells in zip(paired_differences(complete.study).itertuples(), differences[1:], strict=True):
        assert cells[:3] == [row.benchmark, str(row.shots), "LAFS over scratch"]
        shown = [float(number) for number in re.findall(r"[+-][\d.]+", cells[3])]
        assert shown == pytest.approx([row.difference, row.low, row.high], abs=0.0051)
    absent = Page(render_report(changed(complete, study=choose_study(None, "f", "b"))))
    assert absent.table("points") == []
    assert "kedro run --pipelines=study" in absent.text


def test_the_study_s_runs(complete):
    runs = study_frame(complete.study, "faces", "backbone")
    assert choose_study(runs, "faces", "backbone") == complete.study
    assert choose_study(runs, "others", "backbone") is None
    assert choose_study(runs, "faces", "another") is None
    with pytest.raises(LafsError, match=r"study_runs.*kedro run --pipelines=study"):
        choose_study(runs.drop(columns="shots"), "faces", "backbone")


def test_landmarks_are_shown_with_their_error_beside_the_mean_shape_s(page, complete):
    text = " ".join(" ".join(page.text).split())
    assert quality_sentence(QUALITY) in text
    for cell in ("8.1 %", "6.2 %", "8.0 %", "4.0", "25 %"):
        assert cell in page.text
    without = Page(render_report(changed(complete, landmark_quality=None)))
    assert "the mean shape's" not in without.text


def test_curves_of_accuracy_have_a_line_at_chance(complete):
    history = complete.histories["own"]
    assert LIMITS["knn_accuracy"]({"own": history}) == ("chance", 12.5)
    earlier = History("own", history.metrics.drop(columns="knn_chance"), {})
    assert LIMITS["knn_accuracy"]({"own": earlier}) is None


def test_the_model_s_sizes(page, complete):
    count = sum(parameter.numel() for parameter in complete.model.transformer.parameters())
    assert f"{count:,} parameters" in page.text
