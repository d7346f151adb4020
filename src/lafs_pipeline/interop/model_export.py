"""A model to take away: a folder with weights, card, and the formats of others."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lafs_pipeline.interop.model_card import CARD
from lafs_pipeline.interop.model_files import save_model
from lafs_pipeline.interop.official import save_part_fvit
from lafs_pipeline.interop.onnx_export import export_onnx
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.runtime.files import whole_file

logger = logging.getLogger(__name__)

Format = Literal["onnx", "official"]
WEIGHTS = "model.safetensors"
FILES: dict[Format, str] = {"onnx": "model.onnx", "official": "official.pth"}


@dataclass(frozen=True)
class ModelExport:
    """What is written."""

    model: PartFViT | FViT
    card: dict[str, Any]
    formats: tuple[Format, ...]


def write_export(export: ModelExport, folder: Path | str) -> None:
    """Write `model.safetensors`, `config.json` (the card), and `model.onnx` and `official.pth` if asked for.

    The files of an earlier export are removed first, and the card is written last: where it lies, the folder
    is whole.

    Raises:
        LafsError: the model cannot be written in a format.
    """
    folder = Path(folder)
    for name in (CARD, WEIGHTS, *FILES.values()):
        (folder / name).unlink(missing_ok=True)
    save_model(export.model, folder / WEIGHTS)
    if "onnx" in export.formats:
        metadata = {
            "model_digest": export.card["model_digest"],
            "preprocessing": json.dumps(export.card["preprocessing"]),
            **(export.card["provenance"] or {}),
        }
        export_onnx(export.model, folder / FILES["onnx"], metadata)
    if "official" in export.formats:
        save_part_fvit(export.model, folder / FILES["official"])
    with whole_file(folder / CARD) as temporary:
        temporary.write_text(json.dumps(export.card, indent=1) + "\n", encoding="utf-8")
    logger.info("model, card%s: %s", "".join(f", {name}" for name in export.formats), folder)
