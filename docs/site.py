"""What `mkdocs.yml` cannot say: pages outside docs/, one page per room of the library, and their links.

The pages keep links that work in the repository; here they are turned to where the site has its pages.
"""

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "src/lafs_pipeline"
OUTSIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "conf/README.md": "configuration.md",
    "CITATION.cff": "CITATION.cff",
    "notebooks": "notebooks/01_from_faces_to_table.ipynb",
}
"""Where the site has what stands elsewhere in the project."""
LINK = re.compile(r"(?<=\]\()(?!https?://|#)([^)#\s]+)")
ROLE = re.compile(r":(?:class|func|mod|data|meth|attr):(?=<code>)")
"""Sphinx's roles, before code in docstrings."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    pipelines = sorted(path.name for path in Path(config.docs_dir, "pipelines").glob("*.md"))
    config.nav.insert(2, {"Parameters": [f"pipelines/{name}" for name in pipelines]})
    config.nav.append({"API": [f"api/{room}.md" for room in rooms()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/ and those of the rooms."""
    for source, target in OUTSIDE.items():
        path = PROJECT / source if (PROJECT / source).is_file() else PROJECT / target
        files.append(File.generated(config, target, abs_src_path=str(path)))
    for room in rooms():
        page = f"# {room}\n\n::: lafs_pipeline.{room}\n"
        files.append(File.generated(config, f"api/{room}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository to pages of the site."""
    here = page.file.src_uri
    origin = next((source for source, target in OUTSIDE.items() if target == here), f"docs/{here}")

    def turned(found: re.Match[str]) -> str:
        path = os.path.normpath(PurePosixPath(origin).parent / found[0])
        target = OUTSIDE.get(path, path.removeprefix("docs/"))
        return os.path.relpath(target, PurePosixPath(here).parent)

    return LINK.sub(turned, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave the code of Sphinx's roles, without their names."""
    return ROLE.sub("", html)


def rooms() -> list[str]:
    """Packages of the library."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
