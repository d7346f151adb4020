"""The page: whole, self-contained, and deaf to what stands in the data."""

import base64
import io
import re

import pytest
from PIL import Image
from tests.reporting.html_page import Page
from tests.reporting.made_up_report import (
    changed,
    disagreements,
    hardest,
    made_up_table,
    png,
)

from lafs_pipeline.reporting.pictures import png_picture
from lafs_pipeline.reporting.report import render_report
from lafs_pipeline.reporting.tables import headline_table

SECTIONS = [
    *("scores", "differences", "roc", "few-shot", "hardest", "disagreements", "landmarks", "views"),
    *("training", "attention", "run", "flags", "published", "parameters"),
]
HOSTILE = "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=alert(1)>&amp;{{ 7*7 }}"


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


def test_the_same_data_gives_the_same_page(html, complete):
    assert render_report(complete) == html
