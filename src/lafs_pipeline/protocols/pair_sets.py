"""InsightFace's pair sets (`.bin`), read without running anything in the pickles that they are."""

import io
import math
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.recordio import RecordIOReader
from lafs_pipeline.sources.source import EncodedFace, read_image_file


@dataclass(frozen=True)
class PairSet:
    """Encoded images and what is true of their pairs.

    Attributes:
        images: 2n encoded images; images 2i and 2i + 1 are pair i.
        is_same: (n,) bool, whether a pair shows one person.
    """

    images: list[bytes]
    is_same: np.ndarray


class PairSetSource:
    """The images of an InsightFace `.bin`: numbered, without identities."""

    names_are_people = False

    def __init__(self, pair_set: PairSet) -> None:
        self.pair_set = pair_set

    def __len__(self) -> int:
        return len(self.pair_set.images)

    def key(self, index: int) -> str:
        """Number of the image; 2i and 2i + 1 are pair i."""
        return f"{index:06d}"

    def identity(self, index: int) -> None:
        """Not known."""
        return

    def read(self, index: int) -> EncodedFace:
        """The image."""
        return EncodedFace(self.pair_set.images[index])


def read_pair_set(path: Path | str) -> PairSet:
    """Read an InsightFace `.bin`: a pickle of (list of encoded images, list of is-same).

    Nothing in the pickle is run: the few names such a file needs (NumPy's byte and bool arrays, Python 2's
    bytes) stand for plain readers here, and any other name is refused. A `.rec` of
    :func:`lafs_pipeline.cataloging.export.write_pair_set` is read as well.

    Raises:
        LafsError: The file is missing, is no such pickle, names anything else, or its counts do not match.
    """
    path = Path(path)
    if not path.is_file():
        raise LafsError(f"Pair set {path} does not exist.")
    if path.suffix == ".rec":
        return _read_pair_records(path)
    try:
        content = load_pair_set(read_image_file(path))
    except LafsError as error:
        raise LafsError(
            f"Pair set {path} was refused: {error}. A pair set holds images and booleans only."
        ) from None
    except Exception as error:
        raise LafsError(f"{path} is not a pair set (.bin of InsightFace: a pickle); {error}.") from error
    if not isinstance(content, list) or len(content) != 2:
        raise LafsError(
            f"{path} is not a pair set: expected (images, is-same), found {type(content).__name__}."
        )
    images, is_same = content
    if not isinstance(images, list) or not all(isinstance(image, bytes) and image for image in images):
        raise LafsError(f"{path} is not a pair set: its first part is not a list of encoded images.")
    if not isinstance(is_same, (list, bytes)) or not all(entry in (0, 1) for entry in is_same):
        raise LafsError(f"{path} is not a pair set: its second part is not a list of booleans.")
    if not is_same or len(images) != 2 * len(is_same):
        raise LafsError(f"{path}: {len(images)} images for {len(is_same)} pairs; expected two per pair.")
    return PairSet(images, np.array(list(is_same), dtype=bool))


def _read_pair_records(path: Path) -> PairSet:
    reader = RecordIOReader(path)
    records = [reader.read_image(key) for key in np.sort(reader.keys)]
    labels = np.array([record.labels[0] if len(record.labels) else np.nan for record in records])
    if len(records) % 2 or not np.isin(labels, (0, 1)).all() or np.any(labels[::2] != labels[1::2]):
        raise LafsError(
            f"{path} is not a pair set: expected records 2i and 2i + 1 with the same label, 1 for one person "
            "and 0 for two."
        )
    return PairSet([record.encoded for record in records], labels[::2] == 1)


@dataclass(frozen=True)
class _Bytes:
    """What a NumPy array of one-byte numbers in the pickle becomes."""

    content: bytes = b""


class _UnfilledArray:
    """An array between its creation and the state that fills it, in the order a pickle does that."""

    __slots__ = ("content",)

    def __init__(self, *_: Any) -> None:
        self.content: bytes | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, _, _, content = state
        if not isinstance(content, bytes) or not 1 <= len(shape) <= 2 or len(content) != math.prod(shape):
            raise LafsError("it holds an array that is not made of bytes")
        self.content = content


class _ByteType:
    """The dtype of one-byte numbers; its state says nothing that matters for bytes."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


def _byte_type(code: Any, *_: Any) -> _ByteType:
    if code not in ("u1", "|u1", "b1", "|b1", b"u1", b"|u1", b"b1", b"|b1"):
        raise LafsError(f"it holds an array of type {code!r}")
    return _ByteType()


def _array_from_buffer(content: Any, *_: Any) -> _Bytes:
    return _Bytes(_checked_bytes(content))


def _checked_bytes(content: Any = b"") -> bytes:
    """Bytes as they are: `bytes(n)` of a number would make as many as the file likes."""
    if not isinstance(content, (bytes, bytearray)):
        raise LafsError(f"it makes bytes of a {type(content).__name__}")
    return bytes(content)


def _scalar(_: Any, content: bytes) -> bool:
    return content == b"\x01"


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding not in ("latin1", b"latin1", "latin-1") or not isinstance(text, (str, bytes)):
        raise LafsError(f"it holds text in encoding {encoding!r}")
    return text.decode().encode("latin1") if isinstance(text, bytes) else text.encode("latin1")


def _bytearray(content: Any = b"", *encoding: Any) -> bytes:
    return _encode(content, *encoding) if encoding else _checked_bytes(content)


class _Name:
    """A name in the pickle, bound to a reader of ours. Immutable, whatever the pickle tries."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Callable[..., Any]) -> None:
        object.__setattr__(self, "_reader", reader)

    def __call__(self, *arguments: Any) -> Any:
        return self._reader(*arguments)

    def __setattr__(self, *_: Any) -> NoReturn:
        raise LafsError("it tries to change what a name means")

    __setstate__ = __setattr__


_NUMPY_NAMES = {
    "multiarray": {"_reconstruct": _UnfilledArray, "scalar": _scalar},
    "numeric": {"_frombuffer": _array_from_buffer},
}
_ALLOWED = {
    (f"{core}.{module}", name): reader
    for core in ("numpy.core", "numpy._core")
    for module, names in _NUMPY_NAMES.items()
    for name, reader in names.items()
} | {
    ("numpy", "ndarray"): _UnfilledArray,
    ("numpy", "dtype"): _byte_type,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "bytes"): _checked_bytes,
}


_NEEDLESS_OPCODES = (
    pickle.PERSID + pickle.BINPERSID + pickle.EXT1 + pickle.EXT2 + pickle.EXT4 + pickle.INST + pickle.OBJ
    + pickle.NEWOBJ + pickle.NEWOBJ_EX + pickle.DICT + pickle.EMPTY_DICT + pickle.SETITEM + pickle.SETITEMS
    + pickle.EMPTY_SET + pickle.ADDITEMS + pickle.FROZENSET + pickle.NEXT_BUFFER + pickle.READONLY_BUFFER
)  # fmt: skip


class _PairSetUnpickler(pickle._Unpickler):
    """Python's own unpickler, not the C one, whose memo a few hostile bytes can make gigabytes long.

    Byte arrays are read, not made as long as the file says before that.

    What the calls in a pickle make of their arguments may be as large, all together, as a few files: one that
    has a small text encoded a million times is refused.
    """

    dispatch: ClassVar = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if code not in _NEEDLESS_OPCODES
    }

    def _load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray8

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._budget = 4 * len(data) + (1 << 16)

    def find_class(self, module: str, name: str) -> "_Name":
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) not in _ALLOWED:
            raise LafsError(f"it asks for {module}.{name}")
        return _Name(self._within_budget(_ALLOWED[module, name]))

    def _within_budget(self, reader: Callable[..., Any]) -> Callable[..., Any]:
        def read(*arguments: Any) -> Any:
            made = reader(*arguments)
            content = made.content if isinstance(made, _Bytes) else made
            self._budget -= len(content) if isinstance(content, bytes) else 0
            if self._budget < 0:
                raise LafsError("it would take much more memory than the file has bytes")
            return made

        return read


def load_pair_set(data: bytes) -> Any:
    """What the pickle holds, with byte strings for NumPy's byte arrays; any name it does not need is refused.

    Raises:
        LafsError: It asks for a name, or is built in a way, that a pair set does not need.
        Exception: It is no pickle; whatever the unpickler makes of it.
    """
    return _plain(_PairSetUnpickler(data).load(), {})


def _plain(value: Any, copies: dict[int, bytes], depth: int = 2) -> Any:
    """Lists of bytes and numbers, down to the depth that a pair set has."""
    if isinstance(value, (_Bytes, _UnfilledArray)):
        return value.content
    if isinstance(value, bytearray):
        return copies.setdefault(id(value), bytes(value)) if id(value) not in copies else copies[id(value)]
    if isinstance(value, (list, tuple)) and depth:
        return [_plain(entry, copies, depth - 1) for entry in value]
    return value
