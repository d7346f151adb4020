"""The registered sizes of the transformer, beside the models so that they can be read without torch."""

LANDMARKS, PATCH_SIZE = 196, 8
"""Of every registered model, where its sizes say nothing else."""
SIZE_NAMES = (
    *("num_landmarks", "patch_size", "dim", "depth", "heads", "head_dim", "mlp_dim", "dropout", "drop_path"),
    *("landmark_width", "landmark_coordinates"),
)
"""What `model.sizes` may override."""
SIZES = {
    "base": {"dim": 768, "depth": 12, "heads": 11, "head_dim": 64, "mlp_dim": 2048},
    "small": {"dim": 384, "depth": 12, "heads": 6, "head_dim": 64, "mlp_dim": 1024},
    "tiny": {"dim": 192, "depth": 12, "heads": 3, "head_dim": 64, "mlp_dim": 512},
}
