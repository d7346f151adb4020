"""Pictures that a training shows while it runs."""

import numpy as np
import pytest
from tests.training.small_trainings import SEED, STAGES, SmallTraining, difference, draw_faces

from lafs_pipeline.runtime.metric_loggers import MetricLogger
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.stage import Progress


class Album(MetricLogger):
    """A logger that keeps pictures."""

    def __init__(self):
        self.pictures = []

    def log(self, metrics, step, images_seen):
        pass

    def log_image(self, name, image, images_seen):
        self.pictures.append((name, images_seen, image))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("faces"), identities=4)


@pytest.mark.parametrize("stage", STAGES)
def test_every_probe_shows_a_picture_and_changes_nothing(stage, manifest, tmp_path):
    training = SmallTraining(stage, manifest, training={"probe_every": 1}, probe_images=16)
    album = Album()
    training.run(RunContext(tmp_path / "shown", SEED, (album,)))
    training.run(RunContext(tmp_path / "plain", SEED))
    assert difference(tmp_path / "shown", tmp_path / "plain") is None
    (first, first_seen, before), (second, second_seen, after) = album.pictures
    assert first == second == ("views" if stage == "pretrain" else "landmarks")
    assert (first_seen, second_seen) == (16, 32)
    for picture in (before, after):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert picture.std() > 5
    assert before.shape != after.shape or not np.array_equal(before, after)


def test_what_has_no_landmarks_or_no_probe_has_no_picture(manifest, tmp_path):
    job = SmallTraining("landmarks", manifest).job(RunContext(tmp_path, SEED))
    assert job.stage().pictures(Progress(0, 4, 2)) == {}
