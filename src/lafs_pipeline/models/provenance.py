"""What a model's weights come from, without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """The training that made a model's weights.

    Attributes:
        training: SHA-256 of its configuration, 64 hexadecimal digits.
        start: :func:`lafs_pipeline.models.digest.model_digest` of the model that it started from.
        run: id of its MLflow run; empty where it was not tracked.
    """

    training: str
    start: str
    run: str = ""
