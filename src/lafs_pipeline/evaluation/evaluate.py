"""A face model on all benchmarks of a catalog."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from lafs_pipeline.evaluation.embeddings import Embeddings, EmbeddingStore
from lafs_pipeline.evaluation.resampling import pair_units
from lafs_pipeline.evaluation.results import BenchmarkResult, Facts
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.evaluation.template_verification import search_images, search_metrics, verify_templates
from lafs_pipeline.evaluation.templates import Templates, pool_templates
from lafs_pipeline.evaluation.verification import Resampling, verify_pairs
from lafs_pipeline.faces.manifest import TRAIN
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.embedding_file import EmbeddingFile
from lafs_pipeline.models.preprocessing import preprocessing_of
from lafs_pipeline.models.provenance import Provenance
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.launch_settings import LaunchSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkData:
    """Tables of :class:`lafs_pipeline.cataloging.catalog.Catalog`, for evaluation."""

    faces: pd.DataFrame
    pairs: pd.DataFrame
    templates: pd.DataFrame
    template_pairs: pd.DataFrame
    template_subjects: pd.DataFrame
    protocols: pd.DataFrame
    overlap: pd.DataFrame


def embed_benchmarks(
    model: nn.Module | EmbeddingFile,
    data: BenchmarkData,
    store: EmbeddingStore,
    options: EvaluateSettings,
    launching: LaunchSettings,
) -> tuple[str, dict[str, Embeddings]]:
    """Digest of a model, and the embeddings of the faces of every benchmark, or of those that a file has."""
    tables = faces_of_benchmarks(data)
    if isinstance(model, EmbeddingFile):
        return model.digest, model.embeddings(tables)
    digest = model_digest(model)
    return digest, store.embed(model, digest, tables, options, launching)


def evaluate_model(
    model: nn.Module | EmbeddingFile,
    data: BenchmarkData,
    store: EmbeddingStore,
    options: EvaluateSettings,
    launching: LaunchSettings,
    seed: int,
) -> list[BenchmarkResult]:
    """Run every benchmark of the catalog, each followed by its groups.

    Pairs of images follow LFW (10 folds, squared L2 distance), templates IJB (TAR at FAR, searches).

    Raises:
        LafsError: a benchmark that cannot be evaluated; names it.
    """
    digest, embeddings = embed_benchmarks(model, data, store, options, launching)
    origin = _origin(getattr(model, "provenance", None))
    origin["preprocessing"] = preprocessing_of(model)
    results: list[BenchmarkResult] = []
    for name, own in embeddings.items():
        facts = replace(_facts(data, name, digest, own, options), **origin)
        benchmark = _Benchmark(data, name, own, options, seed, facts)
        try:
            of_images = (data.pairs["benchmark"] == name).any()
            results += benchmark.pair_results() if of_images else benchmark.template_results()
        except LafsError as error:
            raise LafsError(f"benchmark '{name}': {error}") from error
    return results


def faces_of_benchmarks(data: BenchmarkData) -> dict[str, pd.DataFrame]:
    """Rows of the manifest that each benchmark compares, in the order of `protocols`."""
    tables = {}
    for name in data.protocols["benchmark"]:
        pairs = data.pairs[data.pairs["benchmark"] == name]
        images = data.templates.loc[data.templates["benchmark"] == name, "key"]
        keys = pd.concat([pairs["key_a"], pairs["key_b"], images]).unique()
        tables[str(name)] = data.faces[data.faces["key"].isin(keys)]
    return tables


def pool_benchmark(
    data: BenchmarkData, name: str, own: Embeddings, options: EvaluateSettings
) -> tuple[pd.DataFrame, Templates]:
    """The templates of a benchmark, and their images with the row of each embedding, in the order of rows."""
    images = data.templates[data.templates["benchmark"] == name]
    images = images.assign(row=own.rows.loc[images["key"]].to_numpy()).sort_values("row")
    rows = images["row"].to_numpy()
    templates = pool_templates(
        own.vectors if np.array_equal(rows, np.arange(len(own.vectors))) else own.vectors[rows],
        images["template"].to_numpy(),
        images["media"].to_numpy(),
        images["score"].to_numpy() if options.detector_scores else None,
        options.normalize_images,
    )
    return images, templates


def _origin(provenance: Provenance | None) -> dict[str, Any]:
    if provenance is None:
        return {}
    return {
        "training_digest": provenance.training,
        "start_digest": provenance.start,
        "mlflow_run": provenance.run,
    }


def _facts(data: BenchmarkData, name: str, digest: str, own: Embeddings, options: EvaluateSettings) -> Facts:
    protocol = data.protocols.set_index("benchmark").loc[name]
    train = data.faces.loc[data.faces["split"] == TRAIN, "key"]
    doubled = data.overlap[(data.overlap["benchmark"] == name) & data.overlap["key"].isin(train)]
    return Facts(
        pairs=0,
        folds=None,
        templates=None,
        excluded_images=int(protocol["excluded_images"]),
        excluded_pairs=int(protocol["excluded_pairs"]),
        overlap=doubled["benchmark_key"].nunique() if len(train) else None,
        flip=options.flip,
        normalized=False,
        detector_score=False,
        alignment=str(protocol["alignment"]),
        model_digest=digest,
        data_fingerprint=own.fingerprint,
    )


@dataclass(frozen=True, eq=False)
class _Benchmark:
    """One benchmark, its faces embedded."""

    data: BenchmarkData
    name: str
    own: Embeddings
    options: EvaluateSettings
    seed: int
    facts: Facts

    def pair_results(self) -> Iterator[BenchmarkResult]:
        """Of all pairs, and of the pairs within each group."""
        pairs = self.data.pairs[self.data.pairs["benchmark"] == self.name]
        if pairs["fold"].isna().any():
            raise LafsError(f"{len(pairs)} pairs have no folds; catalog them again (--pipelines=cataloging)")
        yield self._pair_result(pairs)
        yield from self._of_groups(pairs, self._groups(), ("key_a", "key_b"), self._pair_result)

    def template_results(self) -> Iterator[BenchmarkResult]:
        """Of all templates, and of the pairs of templates within each group."""
        images, templates = pool_benchmark(self.data, self.name, self.own, self.options)
        pairs, subjects = (
            table[table["benchmark"] == self.name]
            for table in (self.data.template_pairs, self.data.template_subjects)
        )
        if pairs.empty:
            yield self._search_result(templates, subjects)
            return
        yield self._template_result(pairs, templates, subjects)
        groups = images["key"].map(self._groups()).groupby(images["template"]).agg(_only_value).dropna()
        yield from self._of_groups(
            pairs,
            groups,
            ("template_a", "template_b"),
            lambda members, group: self._template_result(members, templates, subjects, group),
        )

    def _groups(self) -> pd.Series:
        """Group by key, of the faces that have one."""
        faces = self.data.faces
        if "group" not in faces:
            return pd.Series(dtype=object)
        return faces.set_index("key")["group"].astype(object).dropna()

    def _of_groups(
        self,
        pairs: pd.DataFrame,
        groups: pd.Series,
        sides: tuple[str, str],
        evaluate: Callable[[pd.DataFrame, str], BenchmarkResult],
    ) -> Iterator[BenchmarkResult]:
        first, second = (groups.reindex(pairs[side]).to_numpy(object) for side in sides)
        for group in sorted(set(first[pd.notna(first) & (first == second)])):
            try:
                yield evaluate(pairs[(first == group) & (second == group)], group)
            except LafsError as error:
                logger.warning("benchmark '%s': group '%s' is left out: %s", self.name, group, error)

    def _pair_result(self, pairs: pd.DataFrame, group: str | None = None) -> BenchmarkResult:
        is_same = pairs["is_same"].to_numpy(bool)
        rows = [self.own.rows.loc[pairs[side]].to_numpy() for side in ("key_a", "key_b")]
        identities = self.data.faces.set_index("key")["identity"]
        people, known = pd.factorize(identities.loc[pd.concat([pairs["key_a"], pairs["key_b"]])])
        units = pair_units(is_same, *people.reshape(2, -1), len(known))
        result = verify_pairs(
            *(self.own.vectors[side] for side in rows),
            is_same,
            pairs["fold"].to_numpy(int),
            Resampling(units, self.options.resamples, self.seed),
        )
        return BenchmarkResult(
            self.name,
            group,
            result.metrics(),
            result.intervals,
            units.kind,
            self.options.resamples,
            replace(
                self.facts,
                pairs=len(pairs),
                folds=len(result.fold_accuracy),
                threshold=float(1 - result.fold_threshold.mean() / 2),
            ),
            result.false_accept_rate,
            result.true_accept_rate,
            result.fold_accuracy,
        )

    def _search_result(self, templates: Templates, subjects: pd.DataFrame) -> BenchmarkResult:
        """Of a benchmark that is searched alone."""
        facts = replace(self.facts, templates=len(templates.ids), normalized=self.options.normalize_images)
        nothing = np.zeros(0)
        metrics = search_images(templates, subjects)
        return BenchmarkResult(self.name, None, metrics, {}, "", 0, facts, nothing, nothing, nothing)

    def _template_result(
        self, pairs: pd.DataFrame, templates: Templates, subjects: pd.DataFrame, group: str | None = None
    ) -> BenchmarkResult:
        result = verify_templates(templates, pairs, subjects, self.options.resamples, self.seed)
        facts = replace(
            self.facts,
            pairs=len(pairs),
            templates=len(templates.ids),
            normalized=self.options.normalize_images,
            detector_score=self.options.detector_scores,
        )
        searches = search_metrics(templates, subjects) if group is None else {}
        return BenchmarkResult(
            self.name,
            group,
            result.metrics | searches,
            result.intervals,
            result.drawn,
            self.options.resamples,
            facts,
            result.false_accept_rate,
            result.true_accept_rate,
            np.zeros(0),
        )


def _only_value(values: pd.Series) -> object:
    """The value that all rows have; missing where they differ or one has none."""
    return values.iloc[0] if values.notna().all() and values.nunique() == 1 else None
