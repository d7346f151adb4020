"""Face models of anybody's as ONNX, run by onnxruntime: the extra `onnx`."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lafs_pipeline.models.part_fvit import IMAGE_SIZE
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import refuse_lfs_pointer

FLOATS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
UNIT = 1e-3
"""How far from 1 embeddings may be that are of length 1."""


class OnnxModel(nn.Module):
    """One input of images, NCHW or NHWC, of any batch or of a fixed one; the outputs may be several.

    Runs on CUDA where onnxruntime and torch have it, else on the CPU.

    Args:
        path: the file.
        output: name of the output that is the embedding; None takes the only one of shape (B, D), D > 1.
        image_size: side of the images where the graph leaves it open, 112 for None.

    Attributes:
        image_size: side of the images in pixels.
        is_unit: whether the embeddings are of length 1 already.
        file_size: bytes.
        metadata: what was written into the file.
        sizes: the digest of the file, for :func:`lafs_pipeline.models.digest.model_digest`.

    Raises:
        LafsError: onnxruntime is not installed, the file is missing, is no ONNX graph, takes other inputs
            than images, or has no output that is an embedding.
    """

    def __init__(self, path: Path | str, output: str | None = None, image_size: int | None = None) -> None:
        super().__init__()
        require_packages(("onnxruntime",))
        self.path = Path(path)
        if not self.path.is_file():
            raise LafsError(f"model file {path} does not exist")
        refuse_lfs_pointer(self.path)
        self.sizes: dict[str, Any] = {"onnx": hashlib.sha256(self.path.read_bytes()).hexdigest()}
        self.file_size = self.path.stat().st_size
        self._session: Any = self._open()
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.image_size = self._read_input(image_size)
        self._output, self.is_unit = self._probe(output)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) as the graph wants them -> embeddings (B, D) float32, where the images are."""
        if self._session is None:
            self._session = self._open()
        return self._run(images, self._output)

    def _run(self, images: Tensor, output: str) -> Tensor:
        given = images.detach().to("cpu", self._dtype)
        given = given.movedim(1, -1) if self._channels_last else given
        count = len(given)
        batch = count if self._batch is None else self._batch
        if count % batch:
            given = torch.cat([given, given[:1].expand(-count % batch, *given.shape[1:])])
        runs = [
            self._session.run([output], {self._input: part.contiguous().numpy()})[0]
            for part in given.split(batch)
        ]
        found = torch.cat([torch.from_numpy(run) for run in runs])[:count]
        return found.float().to(images.device)

    def _open(self) -> Any:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        wanted = ["CUDAExecutionProvider"] if torch.cuda.is_available() else []
        there = onnxruntime.get_available_providers()
        providers = [*(name for name in wanted if name in there), "CPUExecutionProvider"]
        try:
            return onnxruntime.InferenceSession(self.path, options, providers=providers)
        except (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented) as error:
            raise LafsError(f"{self.path} is no ONNX model that onnxruntime can run: {error}") from error

    def _read_input(self, image_size: int | None) -> int:
        """Side of the images; name, numbers and layout of the input are kept."""
        given = self._session.get_inputs()
        shape = given[0].shape if given else []
        channels = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == 3]
        if len(given) != 1 or not channels or given[0].type not in FLOATS:
            found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in given)
            raise LafsError(
                f"{self.path} takes {found}; a face model takes one input of images, float (B, 3, H, W) or "
                "(B, H, W, 3)"
            )
        self._input, self._dtype = given[0].name, FLOATS[given[0].type]
        self._channels_last = channels[0] == 3
        self._batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        side = shape[2]
        if not isinstance(side, int) or side <= 0:
            return image_size or IMAGE_SIZE
        if image_size not in (None, side):
            raise LafsError(f"{self.path} takes images of {side} pixels, and image_size is {image_size}")
        return side

    def _probe(self, output: str | None) -> tuple[str, bool]:
        """Run two random images: which output is the embedding, and whether it is of length 1."""
        outputs = [value.name for value in self._session.get_outputs()]
        if output is not None and output not in outputs:
            raise LafsError(f"{self.path} has no output '{output}'; it has {', '.join(outputs)}")
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(2, 3, self.image_size, self.image_size, generator=generator) * 2 - 1
        try:
            found = {name: self._run(images, name) for name in ([output] if output else outputs)}
        except Exception as error:  # onnxruntime's have no class of Python's in common
            raise LafsError(
                f"{self.path} does not run on images of {self.image_size} pixels: {error}"
            ) from error
        vectors = {name: each for name, each in found.items() if each.ndim == 2 and each.shape[1] > 1}
        if len(vectors) != 1:
            shapes = ", ".join(f"{name} {tuple(each.shape)}" for name, each in found.items())
            raise LafsError(
                f"{self.path} gives {shapes} for two images; expected one output (2, D), or its name as "
                "`output`"
            )
        ((name, embedded),) = vectors.items()
        return name, bool((embedded.norm(dim=1) - 1).abs().max() < UNIT)


def require_packages(packages: tuple[str, ...]) -> None:
    """Refuse to begin without what the extra `onnx` installs.

    Raises:
        LafsError: a package is not installed.
    """
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        raise LafsError(
            f"ONNX needs {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not installed: "
            "install lafs-pipeline with its extra `onnx` (in the checkout: pip install '.[onnx]')"
        )
