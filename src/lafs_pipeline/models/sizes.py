"""The registered sizes of the transformer, beside the models so that they can be read without torch."""

SIZES = {
    "base": {"dim": 768, "depth": 12, "heads": 11, "head_dim": 64, "mlp_dim": 2048},
    "small": {"dim": 384, "depth": 12, "heads": 6, "head_dim": 64, "mlp_dim": 1024},
    "tiny": {"dim": 192, "depth": 12, "heads": 3, "head_dim": 64, "mlp_dim": 512},
}
