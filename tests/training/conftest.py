"""What the trainings of the tests see."""

import pandas as pd
import pytest
from tests.training.small_trainings import draw_faces


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> pd.DataFrame:
    """The manifest of drawn faces; a test that damages them copies their stores first."""
    return draw_faces(tmp_path_factory.mktemp("faces"))
