"""Pair sets: what is read, what is refused, and what is drawn."""

import os
import pickle
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.protocols.held_out import draw_pairs
from lafs_pipeline.protocols.pair_lists import read_pairs_txt
from lafs_pipeline.protocols.pair_sets import read_pair_set
from lafs_pipeline.runtime.errors import LafsError

IMAGES = [bytes([number]) * (number + 1) for number in range(6)]
IS_SAME = [True, False, True]
INTEGERS = [np.array([1, 0, 1]), np.array([1, 0, 1], np.int32), list(np.array([1, 0, 1]))]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        [np.frombuffer(image, np.uint8) for image in IMAGES],
        [np.frombuffer(image, np.uint8).copy()[:, None] for image in IMAGES],
        [bytearray(image) for image in IMAGES],
    ],
    ids=["bytes", "arrays", "columns", "bytearrays"],
)
@pytest.mark.parametrize(
    "is_same",
    [IS_SAME, np.array(IS_SAME), list(np.array(IS_SAME)), [1, 0, 1], *INTEGERS],
    ids=["bools", "array", "scalars", "ints", "int64", "int32", "numpy ints"],
)
def test_every_way_to_pickle_a_pair_set(tmp_path, protocol, images, is_same):
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, is_same), protocol))
    found = read_pair_set(tmp_path / "a.bin")
    assert found.images == IMAGES
    assert found.is_same.tolist() == IS_SAME


def test_names_of_old_numpy_and_python_2(tmp_path):
    data = pickle.dumps(([np.frombuffer(image, np.uint8) for image in IMAGES], IS_SAME), 2)
    assert b"numpy._core" in data
    (tmp_path / "a.bin").write_bytes(data.replace(b"numpy._core", b"numpy.core"))
    assert read_pair_set(tmp_path / "a.bin").images == IMAGES
    python_2 = b"\x80\x02]q\x00(U\x02\xff\xd8U\x02\xff\xd9e]q\x01\x88a\x86."
    (tmp_path / "b.bin").write_bytes(python_2)
    assert read_pair_set(tmp_path / "b.bin").images == [b"\xff\xd8", b"\xff\xd9"]


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_hostile_pickles_are_refused_without_running(tmp_path):
    target = tmp_path / "created"
    attacks = [
        Hostile(os.mkdir, str(target)),
        Hostile(eval, f"open({str(target)!r}, 'w')"),
        Hostile(np.save, str(target), 0),
        Hostile(getattr, "", "__class__"),
    ]
    for number, attack in enumerate(attacks):
        for content in (attack, ([attack], [True]), (IMAGES, [attack])):
            path = tmp_path / f"{number}.bin"
            path.write_bytes(pickle.dumps(content))
            with pytest.raises(LafsError, match="was refused: it asks for"):
                read_pair_set(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        pickle.dumps((IMAGES, IS_SAME))[:-5],
        pickle.dumps(np.array([object()])),
        pickle.dumps((IMAGES[:5], IS_SAME)),
        pickle.dumps(([], [])),
        pickle.dumps((IMAGES, [True, False, 2])),
        pickle.dumps((["text"] * 6, IS_SAME)),
        pickle.dumps(([np.zeros(3)] * 6, IS_SAME)),
        pickle.dumps({"images": IMAGES}),
        b"\x80\x04B\xff\xff\xff\xff.",
        b"\x80\x04r\xff\xff\xff\xff.",
        b"\x80\x05\x96" + (1 << 34).to_bytes(8, "little") + b".",
        b"\x80\x04cbuiltins\nbytes\n\x8a\x05" + (1 << 34).to_bytes(5, "little") + b"\x85R.",
        b"\x80\x02cnumpy\ndtype\n}X\x08\x00\x00\x00__call__K\x01sb.",
    ],
)
def test_files_that_are_no_pair_sets(tmp_path, data):
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with pytest.raises(LafsError, match=r"a\.bin"):
        read_pair_set(path)


@pytest.mark.parametrize("times", [3, 5000])
def test_a_small_text_cannot_be_made_many(tmp_path, times):
    """`_codecs.encode` of one remembered text, again and again: kilobytes that want to be megabytes."""
    text = b"X" + (10_000).to_bytes(4, "little") + b"x" * 10_000
    call = b"c_codecs\nencode\nh\x01R"
    arguments = text + b"X\x06\0\0\0latin1\x86q\x01" + b"0"
    pickled = b"\x80\x02" + arguments + b"](" + call * times + b"e](" + b"\x88" * (times // 2) + b"e\x86."
    (tmp_path / "a.bin").write_bytes(pickled)
    with pytest.raises(
        LafsError, match="3 images for 1 pairs" if times == 3 else "more memory than the file"
    ):
        read_pair_set(tmp_path / "a.bin")


def test_missing_file(tmp_path):
    with pytest.raises(LafsError, match="does not exist"):
        read_pair_set(tmp_path / "a.bin")


def test_insightface_sample(shared_dir):
    found = read_pair_set(shared_dir / "faces/insightface_format_sample/small_lfw.bin")
    assert len(found.images) == 2 * len(found.is_same) == 20
    assert all(decode_image(image).shape == (112, 112, 3) for image in found.images)


def test_lfw_pairs(shared_dir):
    pairs = read_pairs_txt(shared_dir / "faces/lfw/pairs.txt")
    assert len(pairs) == 6000
    assert pairs.groupby("fold")["is_same"].agg(["size", "sum"]).to_numpy().tolist() == [[600, 300]] * 10
    assert pairs.iloc[0].tolist() == ["Abel_Pacheco", 1, "Abel_Pacheco", 4, True, 0]
    for side in "ab":
        names = pairs[f"name_{side}"], pairs[f"number_{side}"]
        files = {f"{name}/{name}_{number:04d}.jpg" for name, number in zip(*names, strict=True)}
        assert all((shared_dir / "faces/lfw/aligned112" / file).is_file() for file in files)


def test_pairs_txt_forms(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("1\nJosé Pérez\t1\t2\nJosé Pérez\t1\tX\t3\n", encoding="utf-8")
    pairs = read_pairs_txt(path)
    assert pairs.to_numpy().tolist() == [
        ["José Pérez", 1, "José Pérez", 2, True, 0],
        ["José Pérez", 1, "X", 3, False, 0],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("ten folds\n", "line 1"),
        ("1 1\nA 1 2\n", "announces 1 folds .* 1 pairs follow"),
        ("1 1\nA 1 2\nA 1 B\n", "line 3"),
        ("1 1\nA 1 2\nA one B 2\n", "line 3"),
    ],
)
def test_bad_pairs_txt(tmp_path, text, message):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(LafsError, match=message):
        read_pairs_txt(tmp_path / "pairs.txt")


@given(st.lists(st.integers(1, 7), min_size=2, max_size=9), st.integers(1, 4), st.integers(0, 99), st.data())
@settings(max_examples=60)
def test_drawn_pairs(sizes, folds, seed, data):
    identities = np.random.default_rng(seed).permutation(
        np.repeat([f"p{i}" for i in range(len(sizes))], sizes)
    )
    every = list(combinations(range(len(identities)), 2))
    same = sum(identities[a] == identities[b] for a, b in every)
    each = min(same, len(every) - same) // folds
    if not each:
        return
    count = 2 * folds * data.draw(st.integers(1, each))
    pairs = draw_pairs(identities, count, folds, seed)
    assert len(pairs) == count
    assert len({frozenset(pair) for pair in zip(pairs.a, pairs.b, strict=True)}) == count
    assert (pairs.a != pairs.b).all()
    np.testing.assert_array_equal(identities[pairs.a] == identities[pairs.b], pairs.is_same)
    assert pairs.fold.is_monotonic_increasing
    per_fold = pairs.groupby("fold")["is_same"].agg(["size", "sum"]).to_numpy()
    assert per_fold.tolist() == [[count // folds, count // folds // 2]] * folds


def test_drawn_pairs_depend_on_the_seed_alone():
    identities = np.repeat(list("abcdefgh"), 6)
    first = draw_pairs(identities, 40, 10, 1)
    assert first.equals(draw_pairs(identities, 40, 10, 1))
    assert not first.equals(draw_pairs(identities, 40, 10, 2))


def test_same_pairs_are_spread_over_identities():
    identities = ["large"] * 100 + ["b"] * 3 + ["c"] * 2
    pairs = draw_pairs(identities, 20, 1, 0)
    drawn = np.asarray(identities)[pairs.a[pairs.is_same]]
    assert sorted(np.unique(drawn, return_counts=True)[1]) == [1, 3, 6]


@pytest.mark.parametrize(
    ("sizes", "count", "folds", "message"),
    [
        ([5, 5], 15, 2, "cannot be split"),
        ([10], 10, 1, "5 different-identity pairs .* only 0"),
        ([1] * 9, 10, 1, "5 same-identity pairs .* only 0"),
        ([2, 2], 20, 1, "at most 4 pairs"),
    ],
)
def test_too_few_images_for_the_pairs(sizes, count, folds, message):
    with pytest.raises(LafsError, match=message):
        draw_pairs(np.repeat([str(i) for i in range(len(sizes))], sizes), count, folds, 0)
