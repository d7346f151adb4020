"""What the tests share."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"


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
