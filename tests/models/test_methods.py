"""In which order models are shown, and which of them leads."""

import pytest

from lafs_pipeline.models.methods import in_order, leading, leading_pretrained, to_compare


@pytest.mark.parametrize(
    ("names", "ordered", "first", "pretrained"),
    [
        (["lafs", "scratch", "stage1"], ["stage1", "scratch", "lafs"], "lafs", "lafs"),
        (["mine", "grid", "a", "scratch"], ["scratch", "grid", "a", "mine"], "grid", "grid"),
        (["stage1", "mine"], ["stage1", "mine"], "stage1", None),
        (["mine", "a"], ["a", "mine"], "a", None),
        (
            ["lafs_frozen", "mine", "lafs", "scratch_frozen"],
            ["lafs", "mine", "scratch_frozen", "lafs_frozen"],
            *["lafs"] * 2,
        ),
        (
            ["scratch_frozen", "mine", "lafs_frozen"],
            ["mine", "scratch_frozen", "lafs_frozen"],
            "lafs_frozen",
            None,
        ),
        ([], [], None, None),
    ],
)
def test_names_known_and_of_a_user(names, ordered, first, pretrained):
    assert in_order(names) == ordered
    assert (leading(names), leading_pretrained(names)) == (first, pretrained)


@pytest.mark.parametrize(
    ("names", "compared"),
    [
        (["lafs", "grid", "scratch", "stage1", "lafs_frozen"], [("lafs", "scratch"), ("lafs", "grid")]),
        (["grid", "scratch", "mine"], [("grid", "scratch")]),
        (["stage1", "scratch_frozen", "lafs_frozen"], [("lafs_frozen", "scratch_frozen")]),
        (["lafs", "mine"], []),
    ],
)
def test_what_is_compared(names, compared):
    assert to_compare(names) == compared
