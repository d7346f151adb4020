"""Any model on benchmarks that are files: the table of `evaluate` without a project."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.evaluate import BenchmarkData, evaluate_model
from lafs_pipeline.evaluation.results import BenchmarkResult, benchmark_table
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.interop.any_model import open_any
from lafs_pipeline.models.choice import ModelChoice
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.runtime.launch_settings import LaunchSettings


def benchmark_model(
    choice: ModelChoice, pair_sets: Sequence[Path], listed: Sequence[Path] | None, out: Path | None
) -> int:
    """Print the scores of a model on aligned faces, and what they must be read with.

    Args:
        choice: the model.
        pair_sets: InsightFace's `.bin` files, called after the files.
        listed: a folder of aligned images and a list of their pairs, as LFW's.
        out: CSV of the whole table; None writes none.

    Returns:
        The exit status.

    Raises:
        LafsError: the model or a benchmark cannot be used, none is given, or the table cannot be written.
    """
    benchmarks = {path.stem: BenchmarkSettings(kind="bin", path=str(path)) for path in pair_sets}
    if len(benchmarks) < len(pair_sets):
        raise LafsError(f"two of {', '.join(map(str, pair_sets))} have one name; rename one")
    if listed is not None:
        folder, pairs = map(str, listed)
        benchmarks["pairs"] = BenchmarkSettings(kind="pairs_txt", path=folder, pairs_file=pairs, aligned=True)
    if not benchmarks:
        raise LafsError("no benchmark is named: give --bin FILE.bin ..., or --pairs FOLDER LIST")
    model = open_any(choice)
    options = EvaluateSettings()
    options = replace(options, flip=choice.flips(options.flip))
    with TemporaryDirectory(prefix="lafs-benchmark-") as scratch:
        found = catalog_faces(CatalogSettings(benchmarks=benchmarks), 0, Path(scratch, "stores"))
        names = [name for name in BenchmarkData.__dataclass_fields__ if name != "faces"]
        store = EmbeddingStore(Path(scratch, "embeddings"))
        data = BenchmarkData(faces=found.manifest, **{name: getattr(found, name) for name in names})
        results = evaluate_model(model, data, store, options, LaunchSettings(), 0)
    table = benchmark_table({Path(choice.path).name: results})
    print(_shown(results))
    facts = results[0].facts
    flip = "with mirror images" if facts.flip else "without mirror images"
    print(f"{facts.preprocessing}; {flip}; faces {facts.alignment}; SHA-256 {facts.model_digest[:12]}")
    if out is not None:
        try:
            with whole_file(out) as temporary:
                table.to_csv(temporary, index=False)
        except OSError as error:
            raise LafsError(f"the table cannot be written to {out} ({error.strerror})") from error
    return 0


def _shown(results: Sequence[BenchmarkResult]) -> str:
    """A line a benchmark, in per cent."""
    rows = [{"benchmark": result.name, "pairs": result.facts.pairs} | result.metrics for result in results]
    table = pd.DataFrame(rows).set_index("benchmark")
    rates = table.columns.drop("pairs")
    table[rates] = table[rates].map("{:.2%}".format)
    return table.reset_index().to_string(index=False)
