import pytest
import torch

from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint


def make(step, value=0.0):
    weights = {"layer.weight": torch.full((3, 2), value), "counter": torch.tensor(step)}
    return Checkpoint(
        step, weights, {"state": {0: {"exp_avg": torch.ones(3)}}}, {"seed": 1, "nested": {"a": [1]}}
    )


def test_round_trip(tmp_path):
    checkpoints.save(tmp_path, make(7, 1.5), keep=2)
    loaded = checkpoints.load_latest(tmp_path)
    assert loaded.step == 7
    assert loaded.configuration == {"seed": 1, "nested": {"a": [1]}}
    assert torch.equal(loaded.weights["layer.weight"], torch.full((3, 2), 1.5))
    assert torch.equal(loaded.optimiser["state"][0]["exp_avg"], torch.ones(3))


def test_only_the_newest_stay(tmp_path):
    for step in (5, 10, 15):
        checkpoints.save(tmp_path, make(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000015"]


@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.pt", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path, name, damage, caplog):
    checkpoints.save(tmp_path, make(5), keep=3)
    path = checkpoints.save(tmp_path, make(10), keep=3) / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    assert checkpoints.load_latest(tmp_path).step == 5
    assert "step-00000010" in caplog.text


def test_a_folder_without_checkpoints(tmp_path):
    assert checkpoints.load_latest(tmp_path / "none") is None


def test_a_failed_write_leaves_the_old_ones(tmp_path):
    checkpoints.save(tmp_path, make(5), keep=2)
    broken = Checkpoint(6, {}, {}, {"not json": object()})
    with pytest.raises(TypeError):
        checkpoints.save(tmp_path, broken, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]
