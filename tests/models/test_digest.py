"""The digest of a model, held against bytes that are put together by hand."""

import hashlib
import struct

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lafs_pipeline.models.digest import model_digest

SMALL = st.integers(-9, 9)
MATRICES = st.lists(st.tuples(SMALL, SMALL, SMALL), min_size=2, max_size=4, unique=True)


def model(rows, dtype=torch.float32):
    made = nn.Module()
    made.sizes = {"dim": 3, "base": 1}
    made.register_buffer("weight", torch.tensor(rows, dtype=dtype))
    made.register_buffer("count", torch.tensor(7))
    return made


@given(MATRICES)
def test_it_is_the_sha_256_of_names_types_shapes_and_bytes(rows):
    values = [value for row in rows for value in row]
    expected = hashlib.sha256(
        b'{"base": 1, "dim": 3}'
        + b"\ncount torch.int64 ()\n"
        + struct.pack("<q", 7)
        + f"\nweight torch.float32 ({len(rows)}, 3)\n".encode()
        + struct.pack(f"<{len(values)}f", *values)
    )
    assert model_digest(model(rows)) == expected.hexdigest()


@given(MATRICES, st.data())
def test_another_order_of_rows_another_sign_type_or_shape_is_another_model(rows, data):
    shuffled = data.draw(st.permutations(rows).filter(lambda order: order != rows))
    flipped = [tuple(-value for value in row) for row in rows]
    others = [model(shuffled), model(rows, torch.float64), model([sum(rows, ())])]
    if flipped != rows:
        others.append(model(flipped))
    assert model_digest(model(rows)) not in {model_digest(made) for made in others}
