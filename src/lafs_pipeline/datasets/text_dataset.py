"""Sentences and pages in the catalog, saved atomically, and shown by what they say first."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NewType

from kedro.io import Version

from lafs_pipeline.datasets.path_dataset import PathDataset
from lafs_pipeline.runtime.files import whole_file

JSONPreview = NewType("JSONPreview", str)
"""Kedro-Viz goes by the name of this type, and shows what the text holds."""


class TextDataset(PathDataset[str, str]):
    """Text in UTF-8, plain or an HTML page; kedro-datasets' TextDataset has no preview."""

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, version, credentials, fs_args, metadata)

    def read(self, path: Path) -> str:
        """The text."""
        return path.read_text(encoding="utf-8")

    def write(self, data: str, path: Path) -> None:
        """Write the text."""
        with whole_file(path) as temporary:
            temporary.write_text(data, encoding="utf-8")

    def preview(self) -> JSONPreview:
        """The lines of plain text, or headings and paragraphs of a page's header."""
        text = self.load()
        if not text.lstrip().lower().startswith("<!doctype html"):
            return JSONPreview(json.dumps(text.splitlines()))
        header = _Header()
        header.feed(text)
        return JSONPreview(json.dumps([" ".join(part.split()) for part in header.parts]))


class _Header(HTMLParser):
    """Collects what stands in headings and paragraphs of the element `header`."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._within = self._told = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "header":
            self._within = True
        elif self._within and tag in ("h1", "p"):
            self._told = True
            self.parts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "header":
            self._within = False
        elif tag in ("h1", "p"):
            self._told = False

    def handle_data(self, data: str) -> None:
        if self._told:
            self.parts[-1] += data
