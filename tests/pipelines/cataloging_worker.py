"""The cataloging pipeline in a process of its own, which is killed where it would save one data set.

python -m tests.pipelines.cataloging_worker FOLDER IDENTITIES [DATASET]
"""

import os
import signal
import sys
from typing import Any

from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset

from lafs_pipeline.datasets.manifest_dataset import ManifestDataset
from lafs_pipeline.pipelines import cataloging


class DeadlyDataset(MemoryDataset):
    """Ends the process as a power cut does."""

    def save(self, data: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, identities: str, deadly: str | None = None) -> None:
    """Catalog synthetic faces up to the removal of unused stores."""
    sources = {"drawn": {"kind": "synthetic", "identities": int(identities), "images_per_identity": 4}}
    parameters = {
        "cataloging": {"sources": sources, "shard_images": 16, "threads": 1},
        "seed": 0,
        "paths.stores": f"{folder}/stores",
    }
    pipeline = cataloging.create_pipeline().to_nodes("remove_unused_stores")
    datasets: dict[str, Any] = {f"params:{name}": MemoryDataset(value) for name, value in parameters.items()}
    for name in pipeline.all_outputs():
        kind, suffix = (CSVDataset, "csv") if name == "stores" else (ManifestDataset, "parquet")
        datasets[name] = kind(filepath=f"{folder}/{name}.{suffix}")
    if deadly:
        datasets[deadly] = DeadlyDataset()
    SequentialRunner().run(pipeline, DataCatalog(datasets))


if __name__ == "__main__":
    main(*sys.argv[1:])
