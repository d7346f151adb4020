"""Whatever the documents name is there: targets, pipelines, parameters, files, modules, pages."""

import ast
import importlib
import importlib.util
import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import yaml
from docs.reference import parameter_rows
from kedro.framework.cli.utils import _split_params
from kedro.io import CatalogConfigResolver
from tests.end_to_end.documents import PROJECT, SHELL, documents, expand

from lafs_pipeline.pipeline_registry import register_pipelines
from lafs_pipeline.pipelines.parameters import GROUPS, check, group_settings
from lafs_pipeline.settings import CONFIG_LOADER_ARGS, ProjectConfigLoader

CONF = PROJECT / "conf"
PAGES = documents()
COMMANDS = sorted({(page.name, command) for page in PAGES for command in page.commands()})
SPANS = sorted({(page.name, span) for page in PAGES for span in page.spans})
PYTHON = sorted({(page.name, code) for page in PAGES for code in page.python()})
LAYER = re.compile(r"(?:data/)?(0\d_\w+(?:/.*)?)")
OF_USERS = {"pairs.txt", "train.rec", "A.png", "B.png"}
SETTING = re.compile(rf"((?:{'|'.join(GROUPS)})(?:\.[a-z_0-9]+)+)(?:: (.+))?")
RELATIVE = re.compile(r"(?:training|recognition|views)\.[a-z_]+(?:: .+)?")
SUFFIX = re.compile(r"\.(csv|html|jpg|json|npz|onnx|parquet|png|pth|py|rec|safetensors|txt|yml)$")

SETTINGS = [
    (page, span)
    for page, span in SPANS
    if SETTING.fullmatch(span) and not SUFFIX.search(span) and not page.startswith("docs/pipelines/")
]
"""Those of docs/pipelines are written from the settings."""


def named(commands, pattern):
    """Every word that the pattern finds in a command, each once."""
    return sorted({found for _, command in commands for found in re.findall(pattern, command)})


@cache
def catalog_files():
    """Patterns of the paths of the catalog in the data folder."""
    text = (CONF / "base/catalog.yml").read_text().replace("${globals:data}", "DATA")
    entries = yaml.safe_load(text).items()
    resolver = CatalogConfigResolver({name: entry for name, entry in entries if not name.startswith("_")})
    names = {name for pipeline in register_pipelines().values() for name in pipeline.datasets()}
    paths = []
    for name in names:
        entry = resolver.resolve_pattern(name)
        while isinstance(entry.get("dataset"), dict):
            entry = entry["dataset"]
        if {"filepath", "path"} & entry.keys():
            parts = entry.get("path"), entry.get("filename_suffix", "")
            paths.append(entry.get("filepath") or "{}/{{partition}}{}".format(*parts))
    assert all(path.startswith("DATA/") for path in paths)
    return [path.removeprefix("DATA/") for path in paths]


def in_catalog(path):
    """Whether a path in the data folder is of the catalog or on the way to it, of a store or a checkpoint."""
    beside = ("02_intermediate/faces", "06_models/checkpoints/")
    if (PROJECT / "data" / path).is_dir() or path.startswith(beside):
        return True
    patterns = [re.sub(r"\\{\w+\\}", r"\\w+", re.escape(known)) for known in catalog_files()]
    folders = any(known.startswith(f"{path}/") for known in catalog_files())
    return folders or any(re.fullmatch(pattern, path) for pattern in patterns)


def parameters(environment, given=None):
    """The parameters of an environment with those that a command gives."""
    loader = ProjectConfigLoader(
        str(CONF), **CONFIG_LOADER_ARGS, env=environment or "local", runtime_params=given or {}
    )
    return loader["parameters"]


@pytest.fixture(scope="module")
def of_folder():
    return parameters("folder")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_say_what_they_are(page):
    """A block in another language would go unnoticed by the tests of commands."""
    known = SHELL | {"python", "yaml"} | ({""} if page.name == "ARCHITECTURE.md" else set())
    assert {language for language, _ in page.blocks} <= known


def test_the_readme_is_short():
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    anchors = {PROJECT / other.name: other.anchors for other in PAGES}
    for link in page.links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (PROJECT / page.name).parent / path if path else PROJECT / page.name
        assert target.exists(), link
        assert not anchor or anchor in anchors[target.resolve()], link


def test_make_targets():
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(named(COMMANDS, r"^make ([\w-]+)")) <= targets
    assert set(re.search(r"\.PHONY: (.+)", makefile)[1].split()) == targets


def test_pipelines():
    known = register_pipelines().keys()
    assert {name for names in named(COMMANDS, r"--pipelines?[= ](\S+)") for name in names.split(",")} <= known


def test_environments():
    known = {path.name for path in CONF.iterdir() if path.is_dir()} - {"base", "local"}
    assert set(named(COMMANDS, r"--env[= ](\S+)")) <= known
    page = (CONF / "README.md").read_text(encoding="utf-8")
    table = page.split("| `--env` | is |")[1].split("\n\n")[0]
    first_column = "".join(re.findall(r"^\|.+?\|", table, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", first_column)) == known


def test_modules():
    for module in named(COMMANDS, r"python -m (\S+)"):
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page, command in COMMANDS if "--params" in command]
)
def test_parameters_of_a_command(page, command, monkeypatch):
    """Kedro's own reading of them, and the pipelines' settings."""
    for name in ("LAFS_FACES", "LAFS_BENCHMARK", "LAFS_PAIRS"):
        monkeypatch.delenv(name, raising=False)
    given = _split_params(None, None, re.search(r"--params[= ](\S+)", command)[1])
    environment = (re.search(r"--env[= ](\S+)", command) or [None, None])[1]
    values = parameters(environment, given)
    for group in GROUPS:
        check(values[group], group)
    files = "".join(path.read_text() for path in (CONF / (environment or "base")).glob("*.yml"))
    for name in given.keys() - GROUPS.keys() - {"seed"}:
        assert f"runtime_params:{name}," in files, f"nothing reads {name}"


@pytest.mark.parametrize(("page", "span"), SETTINGS)
def test_parameters_of_the_text(page, span, of_folder):
    """`group.name` exists and `group.name: value` is accepted."""
    name, value = SETTING.fullmatch(span).groups()
    group, *path = name.split(".")
    kind, values = group_settings(group), deepcopy(of_folder[group])
    known = [row[0] for row in parameter_rows(kind, None, None, group)]
    patterns = [re.escape(row).replace("NAME", r"\w+") for row in known]
    assert any(re.fullmatch(rf"{pattern}(\..+)?", name) for pattern in patterns) or any(
        row.startswith(f"{name}.") for row in known
    )
    if value is not None:
        *above, last = path
        here = values
        for part in above:
            here = here.setdefault(part, {})
        here[last] = yaml.safe_load(value)
        check(values, group)


def test_parameters_of_several_groups():
    """`training.name` and the like, which stand for the same settings in several groups."""
    rows = [row[0] for group in GROUPS for row in parameter_rows(group_settings(group), None, None, group)]
    found = {re.match(r"[\w.]+", span)[0] for _, span in SPANS if RELATIVE.fullmatch(span)}
    assert len(found) > 15
    for name in found:
        module = PROJECT / f"src/lafs_pipeline/{name.replace('.', '/')}.py"
        assert module.exists() or any(row.endswith(f".{name}") for row in rows), name


@pytest.mark.parametrize(("page", "span"), [(page, span) for page, span in SPANS if LAYER.fullmatch(span)])
def test_files_of_the_data_folder(page, span):
    for path in expand(LAYER.fullmatch(span)[1]):
        assert in_catalog(path.rstrip("/")), path


def test_files_by_name():
    """Names of data files without a folder are those of the catalog; paths of the project are there."""
    names = {Path(path).name for path in catalog_files()}
    for page, span in SPANS:
        path = re.sub(r"\s", "", span)
        if re.fullmatch(r"[\w.-]+\.(csv|html|parquet|png)", path) and path not in OF_USERS:
            assert path in names, (page, span)
        if re.match(r"(tests|benchmarks|conf|docs|src|notebooks)/", path):
            assert (PROJECT / path).exists(), (page, span)
        elif re.fullmatch(r"\w+/[\w/]+\.py", path):
            assert (PROJECT / "src/lafs_pipeline" / path).exists(), (page, span)


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_python_compiles_and_its_imports_are_there(page, code):
    for statement in ast.walk(ast.parse(code)):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                importlib.import_module(alias.name)
        if isinstance(statement, ast.ImportFrom):
            module = importlib.import_module(statement.module)
            assert all(hasattr(module, alias.name) for alias in statement.names)
