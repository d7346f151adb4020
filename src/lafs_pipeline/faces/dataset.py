"""Random access to the faces of a manifest."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.faces.recordio_format import RecordIOFile
from lafs_pipeline.runtime.errors import LafsError


class FaceImages:
    """Map-style access: `faces[i]` is the i-th row's image, (112, 112, 3) uint8 RGB, contiguous.

    Stores are opened when first used, in each process anew, so that DataLoader workers can share the object.
    Records are read at the byte offsets that the manifest gives: no index is opened or kept in memory.
    Columns are arrays without Python objects, so that workers that are forked copy none of them.

    Attributes:
        keys: (n,) Arrow strings.

    Raises:
        LafsError: A store does not exist.
    """

    def __init__(self, manifest: pd.DataFrame) -> None:
        self.keys = pa.Table.from_pandas(manifest[["key"]], preserve_index=False)["key"]
        codes, stores = pd.factorize(manifest["store"])
        self._store_of_row = codes.astype(np.int32)
        self._stores = [str(store) for store in stores]
        self._records = manifest["record"].to_numpy(np.int64)
        self._offsets = manifest["offset"].to_numpy(np.int64)
        self._is_bgr = (manifest["channel_order"] == "bgr").to_numpy(dtype=bool)
        self._files: dict[int, RecordIOFile] = {}
        for store in self._stores:
            if not Path(store).is_file():
                raise LafsError(
                    f"Image store {store} of the manifest does not exist; run the cataloging pipeline."
                )

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_files": {}}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> np.ndarray:
        """Decode one face.

        Raises:
            LafsError: The record cannot be read or decoded, or is not 112 x 112; names store and key.
        """
        encoded = self.encoded(index)
        try:
            image = decode_image(encoded, "bgr" if self._is_bgr[index] else "rgb")
            if image.shape != (FACE_SIZE, FACE_SIZE, 3):
                raise LafsError(f"it is {image.shape[1]} x {image.shape[0]} pixels, expected 112 x 112")
        except LafsError as error:
            store = self._stores[self._store_of_row[index]]
            raise LafsError(f"{store}, {self._name(index)} cannot be used: {error}.") from error
        return image

    def stack(self, rows: Iterable[int] | None = None) -> np.ndarray:
        """Several faces at once, all by default: (n, 112, 112, 3) uint8 RGB.

        Raises:
            LafsError: As for one of them.
        """
        return np.stack([self[row] for row in (range(len(self)) if rows is None else rows)])

    def encoded(self, index: int) -> bytes:
        """The image file's bytes of one face, as they were packed.

        Raises:
            LafsError: The record cannot be read; names store, record and key.
        """
        number = self._store_of_row[index]
        if number not in self._files:
            self._files[number] = RecordIOFile(self._stores[number])
        file, offset = self._files[number], int(self._offsets[index])
        try:
            return file.read_image(offset).encoded
        except LafsError:  # again, to be named: to name every record costs as much as to read it
            return file.read_image(offset, name=self._name(index)).encoded

    def _name(self, index: int) -> str:
        return f"record {self._records[index]} ({self.keys[index]})"
