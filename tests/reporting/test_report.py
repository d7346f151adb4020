"""The page: whole, self-contained, true to its tables, and deaf to what stands in the data."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tests.reporting.html_page import Page

from lafs_pipeline.cataloging.card import describe_dataset
from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.evaluation.disagreements import DISAGREEMENT_TYPES
from lafs_pipeline.evaluation.few_shot import FewShotResult, few_shot_table, paired_differences
from lafs_pipeline.evaluation.hardest_pairs import FALSE_ACCEPT, FALSE_REJECT, HARDEST_TYPES
from lafs_pipeline.evaluation.resampling import Interval
from lafs_pipeline.evaluation.results import BenchmarkResult, Facts, benchmark_table
from lafs_pipeline.evaluation.study import study_frame
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.reporting.history import History
from lafs_pipeline.reporting.landmarks import quality_sentence
from lafs_pipeline.reporting.pictures import png_picture
from lafs_pipeline.reporting.report import ALT, LIMITS, ReportData, choose_study, render_report
from lafs_pipeline.reporting.tables import PUBLISHED, headline_table, metric_name, model_name
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings

SECTIONS = [
    *("scores", "differences", "roc", "few-shot", "hardest", "disagreements", "landmarks", "views"),
    *("training", "attention", "run", "flags", "published", "parameters"),
]
HOSTILE = "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=alert(1)>&amp;{{ 7*7 }}"
MODELS = ("stage1", "scratch", "lafs")
SIZES = {
    "num_landmarks": 9,
    "patch_size": 16,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "head_dim": 8,
    "mlp_dim": 16,
    "landmark_width": 0.25,
}


QUALITY = pd.DataFrame(
    {
        "training": ["before", "after"],
        "landmarks": 9,
        "faces": 24,
        "crop_px": [9.0, 4.04],
        "crop_if_still_px": 8.0,
        "covered": [0.5, 0.25],
        "points_error": [0.0812, 0.0617],
        "mean_shape_error": 0.0799,
    }
)


def png(noisy: bool = False) -> bytes:
    stream = io.BytesIO()
    figure = Figure(figsize=(5, 3))
    figure.figimage(np.random.default_rng(0).random((450, 750, 3)) if noisy else np.zeros((450, 750)))
    figure.savefig(stream, format="png", dpi=150)
    return stream.getvalue()


def made_up_table(*names) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    results = {}
    for model in MODELS:
        results[model] = []
        for name in names:
            metrics = {
                "accuracy": rng.random(),
                "fold_std": rng.random(),
                "tar_at_far_0.001": rng.random(),
            }
            facts = Facts(
                123, 10, None, 3, 4, 5, True, False, True, "arcface-112", f"{model}digest", "f" * 32
            )
            intervals = {"accuracy": Interval(*np.sort(rng.random(2)), tuple(rng.random(50)))}
            results[model].append(
                BenchmarkResult(name, None, metrics, intervals, "identity", 50, facts, *[np.zeros(0)] * 3)
            )
    return benchmark_table(results, MODELS[0])


def hardest(faces, benchmark="bench") -> pd.DataFrame:
    keys, identities = faces["key"].tolist(), faces["identity"].tolist()
    rows = [
        (benchmark, FALSE_ACCEPT, keys[0], keys[5], identities[0], identities[5], 1, 1, 2, 0.91, 0.52, 7, 60),
        (
            benchmark,
            FALSE_REJECT,
            keys[2],
            keys[3],
            identities[2],
            identities[3],
            4,
            1,
            None,
            -0.25,
            0.5,
            9,
            40,
        ),
    ]
    return pd.DataFrame(rows, columns=list(HARDEST_TYPES)).astype(HARDEST_TYPES)


def disagreements(faces) -> pd.DataFrame:
    keys = faces["key"].tolist()
    rows = [
        ("bench", "stage1", "lafs", "lafs", keys[7], keys[8], True, -0.1234, 0.25, 1100),
        ("bench", "stage1", "lafs", "stage1", keys[9], keys[10], False, -0.5, 0.125, 9),
    ]
    return pd.DataFrame(rows, columns=list(DISAGREEMENT_TYPES)).astype(DISAGREEMENT_TYPES)


@pytest.fixture(scope="module")
def cataloged(tmp_path_factory):
    source = SourceSettings(kind="synthetic", identities=4, images_per_identity=3)
    packed = tmp_path_factory.mktemp("faces") / "stores"
    return catalog_faces(CatalogSettings(sources={"drawn": source}, threads=1), 0, packed)


@pytest.fixture(scope="module")
def complete(cataloged) -> ReportData:
    rng = np.random.default_rng(1)
    lines = [
        {"step": s, "loss": rng.random(), "learning_rate": 0.1, "teacher_entropy": 3.9} for s in range(1, 9)
    ]
    metrics = pd.DataFrame([*lines, {"step": 8, "knn_accuracy": 0.375, "knn_chance": 0.125}])
    configuration = {"seed": 11, "data": "d" * 32, "settings": {"prototypes": 64}}
    faces = cataloged.manifest
    study = [
        FewShotResult(method, shots, seed, "bench", tuple(rng.random(4)), tuple(rng.random(50)))
        for method in ("scratch", "lafs")
        for shots in (1, 4)
        for seed in (0, 1)
    ]
    return ReportData(
        facts={"seed": "11"},
        model=build_model("part_fvit_tiny_patch8_112", SIZES),
        card=describe_dataset(faces, cataloged.duplicates, cataloged.overlap, cataloged.rejected),
        benchmarks=made_up_table("bench", "other"),
        verdict="One is better.\nThe other is not.",
        hardest=hardest(faces),
        disagreements=disagreements(faces),
        faces=faces,
        pictures=dict.fromkeys(ALT, png()),
        landmark_quality=QUALITY,
        histories={
            name: History(name, metrics, configuration) for name in ("stage1", "pretrain_lafs", "own")
        },
        study=study,
        chances={"bench": 0.5},
        parameters={"pretrain": {"training": {"epochs": 3}}, "report": {}},
        seed=0,
    )


def changed(data: ReportData, **values) -> ReportData:
    return ReportData(**vars(data) | values)


@pytest.fixture(scope="module")
def html(complete) -> str:
    return render_report(complete)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_every_section_is_there_and_in_the_contents(page):
    assert [attributes["id"] for tag, attributes in page.elements if tag == "section"] == SECTIONS
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert [link for link in links if link.startswith("#")] == [f"#{name}" for name in SECTIONS]


def test_nothing_is_fetched_and_nothing_runs(html, page):
    """External addresses stand in links alone, and every picture lies in the page."""
    assert "<script" not in html
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name != "href":
                assert "//" not in value or value.startswith("data:image/")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) > 10
    for picture in pictures:
        assert picture["alt"]
        kind, content = re.fullmatch(
            r"data:image/(png|webp|jpeg|svg\+xml);base64,(.+)", picture["src"]
        ).groups()
        content = base64.b64decode(content, validate=True)
        if kind == "svg+xml":
            assert content.rstrip().endswith(b"</svg>")
        else:
            Image.open(io.BytesIO(content)).verify()


@pytest.mark.parametrize(("noisy", "kind"), [(False, "png"), (True, "webp")])
def test_large_pictures_become_small_and_keep_their_width(noisy, kind):
    picture = png_picture(png(noisy), "seen")
    assert picture.width == 5 * 96
    assert picture.source.startswith(f"data:image/{kind};base64,")
    assert len(picture.source) < 0.6 * len(png(noisy)) or not noisy
    shown = Image.open(io.BytesIO(base64.b64decode(picture.source.partition(",")[2])))
    assert shown.size == (750, 450)


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


def test_hostile_names_are_text(complete):
    faces = complete.faces.assign(
        key=[f"{HOSTILE}{number}" for number in range(len(complete.faces))], identity=HOSTILE
    )
    surrogate = "not-utf8-\udcff"
    card = complete.card | {
        "sources": {HOSTILE: complete.card["sources"]["drawn"]},
        "rejected": {"images": 1, "reasons": {surrogate: 1}},
    }
    html = render_report(
        changed(
            complete,
            card=card,
            faces=faces,
            hardest=hardest(faces, HOSTILE),
            disagreements=disagreements(faces).assign(benchmark=HOSTILE, model=HOSTILE),
            benchmarks=made_up_table(HOSTILE).assign(alignment=HOSTILE),
            parameters={"pretrain": {HOSTILE: HOSTILE}},
            facts={HOSTILE: HOSTILE},
            histories={HOSTILE: complete.histories["own"]},
        )
    )
    html.encode("utf-8")
    page = Page(html)
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in Page(render_report(complete)).elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert not any("evil" in attributes.get("src", "") for _, attributes in page.elements)
    assert sum(HOSTILE in part for part in page.text) > 8
    assert "49" not in {part.strip() for part in page.text}


def test_a_run_of_little_still_has_a_page(complete):
    """No trainings, no errors, one model, a metric without interval."""
    alone = made_up_table("bench")
    alone = alone[(alone["model"] == "lafs") & (alone["metric"] == "tar_at_far_0.001")]
    page = Page(
        render_report(
            changed(
                complete,
                histories={},
                hardest=complete.hardest.iloc[:0],
                disagreements=complete.disagreements.iloc[:0],
                benchmarks=alone,
                study=None,
            )
        )
    )
    text = " ".join(" ".join(page.text).split())
    shown = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    absent = ("few-shot", "hardest", "disagreements", "training")
    assert shown == [name for name in SECTIONS if name not in absent]
    assert "kedro run --pipelines=study" in text
    assert "No pair was decided wrongly." in text
    assert headline_table(alone).rows[0][0] == "bench: TAR at FAR 0.001"


def test_what_was_not_made_has_no_section(complete):
    pictures = {name: picture for name, picture in complete.pictures.items() if name != "landmark_overlay"}
    nothing = {"model": None, "benchmarks": complete.benchmarks.iloc[:0], "pictures": pictures}
    pairs = {name: getattr(complete, name).iloc[:0] for name in ("hardest", "disagreements")}
    page = Page(render_report(changed(complete, **nothing, **pairs)))
    shown = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    missing = ("differences", "roc", "hardest", "disagreements", "landmarks", "attention", "flags")
    assert shown == [name for name in SECTIONS if name not in missing]
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert [link for link in links if link.startswith("#")] == [f"#{name}" for name in shown]
    assert "landmark network" not in page.text
    assert "Nothing was scored." in page.text


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


def test_the_same_data_gives_the_same_page(html, complete):
    assert render_report(complete) == html


def test_the_model_s_sizes(page, complete):
    count = sum(parameter.numel() for parameter in complete.model.transformer.parameters())
    assert f"{count:,} parameters" in page.text
