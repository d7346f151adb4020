"""The report as a browser shows it: on a phone, on a desk, in print."""

import shutil
import subprocess

import pytest
from tests.end_to_end.browser import available, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available(), reason="chromium and chromedriver are not installed"),
]
SECTIONS = "return [...document.querySelectorAll('section')].map(part => part.id)"
WIDTHS = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
BROKEN = "return [...document.images].filter(image => !image.complete || !image.naturalWidth).length"
FETCHED = """return performance.getEntriesByType('resource').map(entry => entry.name)
    .filter(name => !name.startsWith('data:'))"""
BEYOND = """return [...document.querySelectorAll('main *, header *')].filter(element =>
    !element.closest('.scroll') && element.getBoundingClientRect().right > innerWidth + 1).length"""
SEEN = """const box = document.getElementById(arguments[0]).getBoundingClientRect();
    return box.top >= -2 && box.top < innerHeight && box.height > 40 && box.width > 200"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory, smoke):
    with chromium(tmp_path_factory.mktemp("chromium")) as window:
        window.open((smoke / "08_reporting/report.html").as_uri())
        yield window


@pytest.mark.parametrize(("width", "height"), [(360, 780), (768, 1024), (1280, 900)])
def test_it_fits_every_screen(browser, tmp_path, width, height):
    """No sideways scrolling of the page; what is wider scrolls in its own box."""
    browser.size(width, height)
    scrolled, visible = browser.run(WIDTHS)
    assert scrolled <= visible
    assert browser.run(BEYOND) == 0
    browser.screenshot(tmp_path / "page.png", whole=True)
    assert (tmp_path / "page.png").stat().st_size > 100_000


def test_every_picture_is_drawn_and_nothing_is_fetched(browser):
    assert browser.run("return document.images.length") > 20
    assert browser.run(BROKEN) == 0
    assert browser.run(FETCHED) == []
    assert browser.console() == []


def test_the_contents_lead_to_every_section(browser):
    browser.size(1280, 900)
    sections = browser.run(SECTIONS)
    assert len(sections) == 13  # no few-shot study
    for name in sections[:-1]:
        browser.run("document.querySelector(`nav a[href='#${arguments[0]}']`).click()", name)
        assert browser.run(SEEN, name), name


def test_the_parameters_unfold(browser):
    height = "return document.querySelector('#parameters details').getBoundingClientRect().height"
    closed = browser.run(height)
    browser.run("document.querySelector('summary').click()")
    assert browser.run(height) > 10 * closed
    browser.run("document.querySelector('summary').click()")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_in_print(browser, tmp_path):
    """A4 pages with the text and the unfolded parameters."""
    browser.print(tmp_path / "page.pdf")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    text = subprocess.run(
        ["pdftotext", "-layout", str(tmp_path / "page.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    assert 4 <= len(text.split("\f")) <= 16
    assert "Published, not measured here." in text
    assert "pretrain.prototypes" in text
