"""What the tests share."""

import os
import sys
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"
SHARED_RUNS = ("smoke", "cataloged")
"""Fixtures that take a whole run: tests that use one of them stay in one process."""
LONGEST_FIRST = ("end_to_end", "hooks", "runtime", "training")
"""Folders whose tests start first, so that no process is left alone with them at the end."""


os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
"""As in an activated environment: advice names programs as they must be typed."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests for pytest-xdist: those of a file together, and those that share a run."""

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)
    for item in items:
        shared = [name for name in SHARED_RUNS if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(shared[0] if shared else str(item.path)))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test draws the same numbers in every run, alone or after others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with parity numbers and real faces, where it lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} does not lie beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def parity_dir(shared_dir: Path) -> Path:
    """Numbers that the implementation must reproduce."""
    return shared_dir / "parity"
