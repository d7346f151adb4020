"""What the documents tell users to type, to open and to set, read out of their Markdown."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

PROJECT = Path(__file__).parents[2]
OUTSIDE = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "conf/README.md")
DOCUMENTS = sorted([*(PROJECT / name for name in OUTSIDE), *(PROJECT / "docs").rglob("*.md")])
PROGRAMS = {
    *(
        "bash",
        "curl",
        "docker",
        "git",
        "kedro",
        "lafs",
        "lafs-pipeline",
        "make",
        "mlflow",
        "pip",
        "pre-commit",
    ),
    *("pytest", "python", "python3", "ruff", "sbatch", "source", "srun", "torchrun", "uv"),
}
"""First words of an inline code span that make it a command, if other words follow."""
SHELL = {"sh", "bash", "shell", "console"}


@dataclass(frozen=True)
class Document:
    """A page.

    Attributes:
        name: its path in the project.
        blocks: language and text of the fenced blocks.
        spans: inline code.
        links: where its links lead, as written.
        anchors: what a link can name of its headings, as GitHub does.
    """

    name: str
    blocks: tuple[tuple[str, str], ...]
    spans: tuple[str, ...]
    links: tuple[str, ...]
    anchors: frozenset[str]

    def commands(self) -> Iterator[str]:
        """Lines of the shell blocks without their comments, and inline code that is a command."""
        for language, text in self.blocks:
            if language in SHELL:
                lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
                yield from (line for line in lines if line)
        for span in self.spans:
            program, *others = span.split()
            if others and (program in PROGRAMS or program.startswith((".venv/bin/", "./"))):
                yield span

    def python(self) -> Iterator[str]:
        """Python blocks, and inline calls with arguments."""
        yield from (text for language, text in self.blocks if language == "python")
        yield from (span for span in self.spans if _is_call(span))


def read(path: Path) -> Document:
    """Parse a page."""
    tokens = MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8"))
    leaves = [leaf for token in tokens for leaf in token.children or ()]
    return Document(
        name=path.relative_to(PROJECT).as_posix(),
        blocks=tuple((token.info, token.content) for token in tokens if token.type == "fence"),
        spans=tuple(leaf.content for leaf in leaves if leaf.type == "code_inline"),
        links=tuple(leaf.attrs["href"] for leaf in leaves if leaf.type == "link_open"),
        anchors=frozenset(_headings(tokens)),
    )


def documents() -> list[Document]:
    """All of them."""
    return [read(path) for path in DOCUMENTS]


def expand(span: str) -> list[str]:
    """`a.{csv,png}` is two names, as in a shell."""
    parts = [part.split(",") for part in re.split(r"[{}]", span)]
    fixed = [[",".join(part)] if number % 2 == 0 else part for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*fixed)]


def _headings(tokens: list[Token]) -> Iterator[str]:
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            yield re.sub(r"[^\w\- ]", "", token.content.lower()).replace(" ", "-")


def _is_call(span: str) -> bool:
    try:
        expression = ast.parse(span, mode="eval").body
    except SyntaxError:
        return False
    return isinstance(expression, ast.Call) and bool(expression.args or expression.keywords)
