"""Which environment the results in a data folder are of: another one does not replace them."""

from pathlib import Path
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.tracking.facts import saved_path

NAME = ".environment"
WITHOUT = ("base", "local")
SHOWN = 4


class DataFolder:
    """The data folder of a run.

    Args:
        path: the folder.
        run_params: Kedro's, with the environment of the run.
    """

    def __init__(self, path: str, run_params: dict[str, Any]) -> None:
        self.path = Path(path)
        self._is_claimed = False
        env = run_params.get("env")
        self.environment = "base" if env is None or env in WITHOUT else env

    def refuse_other_results(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Let no run replace what another environment has made.

        Raises:
            LafsError: it would; names the files.
        """
        mark = self.path / NAME
        owner = mark.read_text(encoding="utf-8").strip() if mark.is_file() else self.environment
        if owner == self.environment:
            return
        lost = [name for name in sorted(pipeline.all_outputs()) if name in catalog and catalog.exists(name)]
        paths = {str(path) for name in lost if (path := saved_path(catalog, name)) is not None}
        files = sorted(paths, key=lambda path: ("models" not in path, path))  # what took longest first
        if files:
            more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
            raise LafsError(
                f"{self.path} holds results of the environment {owner}, and this run of {self.environment} "
                f"would replace {', '.join(files[:SHOWN])}{more}; give this one a folder of its own, by the "
                f"variable LAFS_DATA={self.path}-{self.environment}, or empty this one (make clean-data)"
            )

    def claim(self) -> None:
        """Note whose results are made here, once a run."""
        if self._is_claimed:
            return
        self._is_claimed, mark = True, self.path / NAME
        if not mark.is_file() or mark.read_text(encoding="utf-8").strip() != self.environment:
            with whole_file(mark) as temporary:
                temporary.write_text(f"{self.environment}\n", encoding="utf-8")
