"""What is frozen stays as it is, bit for bit, and the rest is trained as before."""

import pytest
import torch
from tests.training.small_trainings import SEED, SIZES, SmallTraining, training_folder

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.parameter_groups import freeze, layer_decay_groups

FIRST = ("patch_embedding", "class_token", "positions")


def is_frozen(name: str, landmark_network: bool, blocks: int) -> bool:
    part = name.removeprefix("transformer.")
    of_blocks = (*FIRST, *(f"blocks.{number}." for number in range(blocks))) if blocks else ()
    return part.startswith(of_blocks) or (landmark_network and part.startswith("landmark_network."))


@pytest.mark.parametrize("stage", ["landmarks", "adapt"])
@pytest.mark.parametrize(("landmark_network", "blocks"), [(True, 0), (False, 1), (True, 2)])
def test_frozen_parts_keep_every_bit_and_the_others_learn(faces, tmp_path, stage, landmark_network, blocks):
    chosen = {"freeze_landmark_network": landmark_network, "freeze_blocks": blocks}
    training = SmallTraining(stage, faces, {"weight_decay": 0.5, "epochs": 1}, chosen)
    before, after = training.model().state_dict(), training.run(RunContext(tmp_path, SEED)).state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == is_frozen(name, landmark_network, blocks), name
    groups = checkpoints.load_latest(training_folder(tmp_path)).optimizer["param_groups"]
    trained = {name for group in groups for name in group["names"]}
    model = {name.removeprefix("recognizer.model.") for name in trained} - {"recognizer.head.weight"}
    parameters = [name for name, _ in training.model().named_parameters()]
    assert model == {name for name in parameters if not is_frozen(name, landmark_network, blocks)}


def test_nothing_frozen_is_everything_trained():
    model = PartFViT(**SIZES).requires_grad_(False)
    freeze(model, landmark_network=False, blocks=0)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_grid_model_has_blocks_alone():
    sizes = {name: value for name, value in SIZES.items() if "landmark" not in name}
    model = FViT(**sizes)
    freeze(model, landmark_network=True, blocks=1)
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if is_frozen(name, False, 1)}


def test_more_blocks_than_there_are_are_refused(faces, tmp_path):
    training = SmallTraining("landmarks", faces, objective={"freeze_blocks": 3})
    with pytest.raises(LafsError, match=r"freeze_blocks is 3.*has 2 blocks"):
        training.run(RunContext(tmp_path, SEED))
    assert not list(tmp_path.iterdir())


def test_layers_keep_their_learning_rates():
    model = PartFViT(**SIZES)

    def scales() -> dict[str, float]:
        groups = layer_decay_groups(model, 0.1, 0.5, 0.05)
        return {name: group["lr_scale"] for group in groups for name in group["names"]}

    whole = scales()
    freeze(model, landmark_network=False, blocks=2)
    rest = scales()
    assert set(rest) < set(whole)
    assert rest == {name: whole[name] for name in rest}
