"""One face: decoding, alignment, manifest, random access, subsets."""

FACE_SIZE = 112
"""Side of an aligned face in pixels."""
