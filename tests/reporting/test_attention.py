import numpy as np

from lafs_pipeline.reporting.attention import plot_attention

TOKENS = 9


def test_the_picture_has_a_dot_at_every_token_as_bright_as_its_attention():
    rng = np.random.default_rng(0)
    attention = rng.random((4, TOKENS + 1))
    attention /= attention.sum(axis=1, keepdims=True)
    places = rng.uniform(0, 112, (4, TOKENS, 2))
    figure = plot_attention(rng.integers(0, 255, (4, 112, 112, 3), np.uint8), places, attention)
    shown = [axis for axis in figure.axes if axis.collections and axis.images]
    assert len(shown) == 4
    for axis, points, shares in zip(shown, places, attention, strict=True):
        (dots,) = axis.collections
        order = np.argsort(shares[1:])
        np.testing.assert_allclose(dots.get_offsets(), points[order])
        np.testing.assert_allclose(dots.get_array(), 100 * shares[1:][order])
        assert f"{100 * shares[0]:.1f} %" in axis.get_title()
