"""Hashes of images: what they must not notice, and what they must."""

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from lafs_pipeline.cataloging.hashes import exact_hash, perceptual_hash, thumbnail
from lafs_pipeline.faces.decode import decode_image, encode_jpeg
from lafs_pipeline.sources.synthetic.faces import draw_face

ONES = (1 << 64) - 1


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    return [draw_face(3, identity, 0).image for identity in range(40)]


def distance(a: int, b: int) -> int:
    return ((a ^ b) & ONES).bit_count()


@given(st.binary(max_size=200))
def test_exact_hash_is_the_digest_as_int64(data):
    expected = np.frombuffer(hashlib.blake2b(data, digest_size=8).digest(), "<i8")[0]
    assert exact_hash(data) == expected


def test_bits_are_signs_of_odd_horizontal_frequencies(faces):
    for face in faces[:8]:
        gray = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
        spectrum = dctn(gray.astype(np.float64), norm="ortho")
        places = [(v, u) for v in range(32) for u in range(1, 32, 2)]
        places.sort(key=lambda place: place[0] ** 2 + place[1] ** 2)
        code = perceptual_hash(face) & ONES
        for number, (v, u) in enumerate(places[:64]):
            if abs(spectrum[v, u]) > 1e-2:
                assert code >> (63 - number) & 1 == (spectrum[v, u] > 0)


def test_little_changes_move_few_bits_and_other_faces_move_half(faces):
    codes = [perceptual_hash(face) for face in faces]
    for face, code in zip(faces, codes, strict=True):
        compressed = decode_image(encode_jpeg(face, 60))
        darker = np.clip(face * 0.7 + 10, 0, 255).astype(np.uint8)
        larger = cv2.resize(face, (224, 224), interpolation=cv2.INTER_CUBIC)
        for changed in (compressed, darker, larger):
            assert distance(perceptual_hash(changed), code) <= 6
    others = [distance(a, b) for i, a in enumerate(codes) for b in codes[:i]]
    assert 28 < np.mean(others) < 36
    assert np.mean(np.array(others) <= 10) < 0.01


def test_every_bit_is_used(faces):
    bits = np.array([[perceptual_hash(face) >> bit & 1 for bit in range(64)] for face in faces])
    assert np.all((bits.mean(axis=0) > 0.1) & (bits.mean(axis=0) < 0.9))


def test_a_mirrored_face_has_all_bits_inverted(faces):
    for face in faces:
        assert distance(perceptual_hash(face[:, ::-1]) ^ ONES, perceptual_hash(face)) <= 1


@settings(max_examples=20)
@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_one_color_has_no_hash(red, green, blue):
    plain = np.full((112, 112, 3), (red, green, blue), np.uint8)
    assert perceptual_hash(plain) is None
    assert not thumbnail(plain).any()


def test_thumbnails_forget_light_and_keep_details(faces):
    looks = np.stack([thumbnail(face) for face in faces])
    np.testing.assert_allclose(np.linalg.norm(looks, axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(looks.mean(axis=(1, 2)), 0, atol=1e-6)
    slope = np.linspace(0.7, 1.0, 112)[None, :, None]
    lit = np.stack([thumbnail((face * slope).astype(np.uint8)) for face in faces])
    assert np.einsum("nij,nij->n", looks, lit).min() > 0.97
    correlation = np.einsum("nij,mij->nm", looks, looks)
    assert correlation[~np.eye(len(faces), dtype=bool)].max() < 0.9
