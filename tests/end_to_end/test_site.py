"""The documents build to a site without a warning, and nothing of it comes from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from tests.end_to_end.documents import PROJECT, documents

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Elements by the attribute whose file a browser fetches without being asked."""


class Loaded(HTMLParser):
    """Collects what a page fetches and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADS and LOADS[tag] in given and given.get("rel") != "canonical":
            self.addresses.append(given[LOADS[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", folder]
    finished = subprocess.run(build, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return folder


def test_every_page_is_there(site):
    """Every document, and every room of the library with what its modules define."""
    moved = {"README.md": "index.md", "conf/README.md": "configuration.md"}
    for page in documents():
        name = moved.get(page.name, page.name.removeprefix("docs/"))
        assert (site / name.lower()).with_suffix(".html").exists(), page.name
    rooms = {path.parent.name for path in (PROJECT / "src/lafs_pipeline").glob("*/__init__.py")}
    assert {path.stem for path in (site / "api").glob("*.html")} == rooms
    assert 'id="lafs_pipeline.models.part_fvit.PartFViT"' in (site / "api/models.html").read_text()
    assert "lafs_pipeline.objectives.dino.DINOLoss" in (site / "search/search_index.json").read_text()


def test_nothing_comes_from_elsewhere(site):
    """No script, style, font or picture; mermaid, which the theme would fetch, is not used."""
    for path in site.rglob("*.html"):
        page = Loaded()
        page.feed(path.read_text(encoding="utf-8"))
        assert page.addresses
        assert not [address for address in page.addresses if re.match(r"(https?:)?//", address)], path
        assert 'class="mermaid"' not in path.read_text(encoding="utf-8")
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", path.read_text(encoding="utf-8")), path


def test_the_figure_is_drawn(tmp_path):
    """By the command that the documents name; the committed one is of that size and small."""
    drawn = tmp_path / "method.png"
    subprocess.run([sys.executable, "-m", "docs.figure", "--to", drawn], cwd=PROJECT, check=True)
    committed = PROJECT / "docs/images/method.png"
    assert committed.stat().st_size < 200_000
    with Image.open(drawn) as new, Image.open(committed) as old:
        assert new.size == old.size
