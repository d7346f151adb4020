"""Random access to the faces of a manifest."""

from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.faces.alignment import FACE_SIZE
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.faces.recordio import RecordIOReader
from lafs_pipeline.runtime.errors import LafsError


class FaceImages:
    """Map-style access: `faces[i]` is the i-th row's image, (112, 112, 3) uint8 RGB, contiguous.

    Stores are opened when first used, in each process anew, so that DataLoader workers can share the object.

    Raises:
        LafsError: A store does not exist.
    """

    def __init__(self, manifest: pd.DataFrame) -> None:
        self.keys = manifest["key"].to_numpy(dtype=object)
        codes, stores = pd.factorize(manifest["store"])
        self._store_of_row = codes
        self._stores = [str(store) for store in stores]
        self._records = manifest["record"].to_numpy(np.int64)
        self._is_bgr = (manifest["channel_order"] == "bgr").to_numpy(dtype=bool)
        self._readers: dict[int, RecordIOReader] = {}
        for store in self._stores:
            if not Path(store).is_file():
                raise LafsError(
                    f"Image store {store} of the manifest does not exist; run the cataloging pipeline."
                )

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_readers": {}}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> np.ndarray:
        """Decode one face.

        Raises:
            LafsError: The record cannot be read or decoded, or is not 112 x 112; names store and key.
        """
        number = self._store_of_row[index]
        if number not in self._readers:
            self._readers[number] = RecordIOReader(self._stores[number])
        record = int(self._records[index])
        encoded = self._readers[number].read_image(record).encoded
        try:
            image = decode_image(encoded, "bgr" if self._is_bgr[index] else "rgb")
            if image.shape != (FACE_SIZE, FACE_SIZE, 3):
                raise LafsError(f"it is {image.shape[1]} x {image.shape[0]} pixels, expected 112 x 112")
        except LafsError as error:
            where = f"{self._stores[number]}, record {record} ({self.keys[index]})"
            raise LafsError(f"{where} cannot be used: {error}.") from error
        return image
