"""The tables of the report, as text, and published results to read them against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.few_shot import FewShotResult, few_shot_table, paired_differences
from lafs_pipeline.evaluation.results import COST_COLUMNS, FLAG_COLUMNS, headline_metric
from lafs_pipeline.models.methods import FROZEN
from lafs_pipeline.reporting.history import History
from lafs_pipeline.runtime.settings import flattened

Kind = Literal["text", "number", "code"]
MODELS = {"stage1": "stage 1", "lafs": "LAFS"}
METRICS = {
    "accuracy": "accuracy",
    "fold_std": "accuracy, std over folds",
    "auc": "area under the ROC curve",
    "eer": "equal error rate",
}
RATES = {"tar_at_far_": "TAR at FAR ", "tpir_at_fpir_": "TPIR at FPIR ", "rank_": "found at rank "}
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Table:
    """Text in rows and columns; the first cell of a row names it."""

    columns: Mapping[str, Kind]
    rows: Sequence[Sequence[str]]


class PublishedResult(NamedTuple):
    """One row of a paper's table; TAR at FAR 1e-4 of 1:1 verification in per cent, None where not given."""

    method: str
    data: str
    ijb_b: float | None
    ijb_c: float | None
    paper: str
    address: str


_PART_FVIT = ("Sun and Tzimiropoulos, BMVC 2022", "https://arxiv.org/abs/2212.00057")
_LAFS = ("Sun et al., CVPR 2024", "https://arxiv.org/abs/2403.08161")
_ADAFACE = ("Kim et al., CVPR 2022", "https://arxiv.org/abs/2204.00964")
_KP_RPE = ("Kim et al., CVPR 2024", "https://arxiv.org/abs/2403.14852")
_TOPOFR = ("Dan et al., NeurIPS 2024", "https://arxiv.org/abs/2410.10587")
_LVFACE = ("You et al., ICCV 2025", "https://arxiv.org/abs/2501.13420")
_MODEL_ZOO = (
    "An et al., CVPR 2022; InsightFace's model zoo",
    "https://github.com/deepinsight/insightface/tree/master/recognition/arcface_torch",
)
_PARTIAL_FC = ("An et al., CVPR 2022", "https://arxiv.org/abs/2203.15565")

PUBLISHED = (
    PublishedResult("LAFS + Part fViT", "WebFace4M", 96.28, 97.58, *_LAFS),
    PublishedResult("Part fViT", "WebFace4M", 96.05, 97.40, *_PART_FVIT),
    PublishedResult("Part fViT", "MS1MV3", None, 97.29, *_PART_FVIT),
    PublishedResult("ViT-B, AdaFace", "WebFace4M", 95.60, 97.14, *_KP_RPE),
    PublishedResult("ViT-B, KP-RPE, AdaFace", "WebFace4M", 95.56, 97.13, *_KP_RPE),
    PublishedResult("ViT-B, KP-RPE, AdaFace", "WebFace12M", 96.55, 97.82, *_KP_RPE),
    PublishedResult("IR-101, AdaFace", "WebFace4M", 96.10, 97.46, *_ADAFACE),
    PublishedResult("LVFace-B", "Glint360K", 96.51, 97.70, *_LVFACE),
    PublishedResult("TopoFR, ResNet-200", "Glint360K", None, 97.84, *_TOPOFR),
    PublishedResult("ViT-B, Partial FC", "WebFace42M", None, 97.90, *_MODEL_ZOO),
    PublishedResult("ViT-L, Partial FC", "WebFace42M", None, 98.00, *_PARTIAL_FC),
)


def model_name(model: str) -> str:
    """As people write it."""
    name = model.removesuffix(FROZEN)
    return MODELS.get(name, name) + (" (frozen)" if model.endswith(FROZEN) else "")


def metric_name(metric: str) -> str:
    """As people write it."""
    for prefix, name in RATES.items():
        if metric.startswith(prefix):
            return name + metric.removeprefix(prefix)
    return METRICS.get(metric, metric)


def score_tables(benchmarks: pd.DataFrame) -> dict[str, Table]:
    """By benchmark (and group): a row per metric and a column per model, in per cent with interval."""
    return {
        str(name): _wide(rows, "metric", metric_name)
        for name, rows in benchmarks.groupby("benchmark", sort=False)
    }


def headline_table(benchmarks: pd.DataFrame) -> Table:
    """The one figure of a benchmark that is quoted: a row per benchmark and a column per model."""
    quoted = []
    for name, rows in benchmarks.groupby("benchmark", sort=False):
        metric = headline_metric(rows["metric"])
        label = f"{name}: {metric_name(metric)}"
        quoted.append(rows[rows["metric"] == metric].assign(quoted=label))
    return _wide(pd.concat(quoted), "quoted", str) if quoted else Table({"benchmark": "text"}, [])


def difference_table(benchmarks: pd.DataFrame) -> Table:
    """Differences of quoted figures to the reference, in percentage points: a row per benchmark."""
    quoted = []
    for name, rows in benchmarks[benchmarks["difference"].notna()].groupby("benchmark", sort=False):
        metric = headline_metric(rows["metric"])
        label = f"{name}: {metric_name(metric)}, {model_name(rows['reference'].iloc[0])} being the reference"
        quoted.append(rows[rows["metric"] == metric].assign(quoted=label))
    return _wide(pd.concat(quoted), "quoted", str, _points) if quoted else Table({"": "text"}, [])


def interval_notes(benchmarks: pd.DataFrame) -> list[str]:
    """How the intervals were made, each once."""
    notes = benchmarks["interval"].dropna().astype(str)
    return list(dict.fromkeys(notes[notes != ""]))


def flag_table(benchmarks: pd.DataFrame) -> Table:
    """What every score must be read with; models with the same flags share a row."""
    keys = ["benchmark", *FLAG_COLUMNS]
    facts = benchmarks[["model", *keys]].drop_duplicates()
    rows = []
    for values, group in facts.groupby(keys, sort=False, dropna=False):
        known = dict(zip(keys, values, strict=True))
        rows.append(
            [
                known["benchmark"],
                ", ".join(map(model_name, group["model"])),
                *(_count(known[name]) for name in ("pairs", "folds", "templates")),
                *(_yes_or_no(known[name]) for name in ("flip", "normalized", "detector_score")),
                known["alignment"],
                known["preprocessing"],
                _count(known["overlap"]),
                f"{_count(known['excluded_images'])}, {_count(known['excluded_pairs'])}",
            ]
        )
    columns: dict[str, Kind] = {"benchmark": "text", "models": "text"}
    columns |= dict.fromkeys(["pairs", "folds", "templates"], "number")
    columns |= dict.fromkeys(["F", "N", "D", "alignment", "images are made"], "text")
    columns |= {"overlap": "number", "left out": "number"}
    return Table(columns, [[str(cell) for cell in row] for row in rows])


def compared_table(benchmarks: pd.DataFrame) -> Table:
    """Which faces each benchmark compared."""
    faces = benchmarks[["benchmark", "data_fingerprint"]].drop_duplicates()
    rows = [[str(name), str(digest)] for name, digest in faces.to_numpy()]
    return Table({"benchmark": "text", "fingerprint of its faces": "code"}, rows)


def model_table(benchmarks: pd.DataFrame) -> Table:
    """Which weights were scored, and the training that made them."""
    known = ["model_digest", "training_digest", "mlflow_run", *COST_COLUMNS]
    models = benchmarks.reindex(columns=["model", *known]).drop_duplicates()
    rows = [
        [
            model_name(str(name)),
            *("" if pd.isna(digest) else str(digest) for digest in facts[:3]),
            *(NONE if pd.isna(cost) else f"{cost:,.1f}" for cost in facts[3:]),
        ]
        for name, *facts in models.itertuples(index=False)
    ]
    columns: dict[str, Kind] = {"model": "text", "SHA-256 of sizes and weights": "code"}
    columns |= {"training's configuration": "code", "MLflow run": "code"}
    return Table(columns | {"MB": "number", "images/s here": "number"}, rows)


def data_tables(card: Mapping[str, Any]) -> dict[str, Table]:
    """The dataset card in tables, those without rows left out."""
    counts: dict[str, Kind] = dict.fromkeys(["images", "identities", "unlabeled"], "number")
    tables = {
        "Splits": Table(
            {"split": "text", **counts},
            [[name, *(_count(split[kind]) for kind in counts)] for name, split in card["splits"].items()],
        ),
        "Sources": Table(
            {"source": "text", **counts, "channel order": "text"},
            [
                [name, *(_count(source[kind]) for kind in counts), ", ".join(source["channel_orders"])]
                for name, source in card["sources"].items()
            ],
        ),
        "Duplicates found": _records("kind", card["duplicates"]),
        "Training images that a benchmark also holds": _records("benchmark", card["overlap"]),
        "Rejected images": Table(
            {"reason": "text", "images": "number"},
            [[reason, _count(count)] for reason, count in card["rejected"]["reasons"].items()],
        ),
    }
    return {title: table for title, table in tables.items() if table.rows}


def training_table(histories: Mapping[str, History]) -> Table:
    """What each training was made with and how it ended."""
    columns: dict[str, Kind] = {"training": "text"}
    columns |= dict.fromkeys(["steps", "seed", "images/s", "last loss", "last k-NN"], "number")
    columns |= {"training faces": "code"}
    rows = []
    for name, history in histories.items():
        steps, losses = history.curve("loss")
        rates, scores = history.curve("images_per_second")[1], history.curve("knn_accuracy")[1]
        rows.append(
            [
                name,
                _count(steps[-1]) if len(steps) else NONE,
                str(history.configuration.get("seed", NONE)),
                f"{np.median(rates):.0f}" if len(rates) else NONE,
                f"{losses[-1]:.4g}" if len(losses) else NONE,
                f"{scores[-1]:.2%}".replace("%", " %") if len(scores) else NONE,
                str(history.configuration.get("data", NONE)),
            ]
        )
    return Table(columns, rows)


def parameter_table(groups: Mapping[str, Any]) -> Table:
    """Every parameter by its dotted name."""
    rows = [[name, str(value)] for name, value in flattened(groups).items()]
    return Table({"parameter": "code", "value": "code"}, rows)


def few_shot_tables(results: Sequence[FewShotResult], seed: int) -> dict[str, Table]:
    """Accuracies, and how much better one method is than another."""
    accuracies = few_shot_table(results)
    methods = list(accuracies["method"].unique())
    columns: dict[str, Kind] = {"benchmark": "text"}
    columns |= dict.fromkeys(["shots", "seeds", *map(model_name, methods)], "number")
    rows = []
    for (benchmark, shots), group in accuracies.groupby(["benchmark", "shots"], sort=False):
        cells = {
            row.method: f"{row.mean:.2f} %" + ("" if pd.isna(row.std) else f" ± {row.std:.2f}")
            for row in group.itertuples()
        }
        rows.append(
            [benchmark, str(shots), str(group["seeds"].iloc[0]), *(cells.get(m, NONE) for m in methods)]
        )
    differences = [
        [
            str(row.benchmark),
            str(row.shots),
            f"{model_name(row.better)} over {model_name(row.than)}",
            _signed(row.difference)
            + ("" if pd.isna(row.low) else f" [{_signed(row.low)}, {_signed(row.high)}]"),
        ]
        for row in paired_differences(results, seed).itertuples()
    ]
    return {
        "Accuracy, mean ± standard deviation over seeds": Table(columns, rows),
        "Paired differences in percentage points, with 95 % intervals": Table(
            {"benchmark": "text", "shots": "number", "difference": "text", "points": "number"}, differences
        ),
    }


def _wide(rows: pd.DataFrame, label: str, name: Any, cell: Any = None) -> Table:
    """A row per value of `label` and a column per model; `cell` makes the text of a row."""
    models = list(dict.fromkeys(rows["model"]))
    cells = {(row[label], row["model"]): (cell or _score)(row) for row in rows.to_dict("records")}
    columns: dict[str, Kind] = {"": "text", **{model_name(str(model)): "number" for model in models}}
    return Table(
        columns,
        [
            [name(value), *(cells.get((value, model), NONE) for model in models)]
            for value in dict.fromkeys(rows[label])
        ],
    )


def _score(row: Mapping[str, Any]) -> str:
    shown = f"{100 * row['value']:.2f} %"
    if pd.isna(row["low"]) or pd.isna(row["high"]):
        return shown
    return f"{shown} [{100 * row['low']:.2f}, {100 * row['high']:.2f}]"


def _points(row: Mapping[str, Any]) -> str:
    shown = _signed(100 * row["difference"])
    if pd.isna(row["difference_low"]):
        return shown
    return f"{shown} [{_signed(100 * row['difference_low'])}, {_signed(100 * row['difference_high'])}]"


def _records(label: str, records: Mapping[str, Mapping[str, int]]) -> Table:
    """A row per record and a column per count; records without any count are left out."""
    names = list(next(iter(records.values()), {}))
    columns: dict[str, Kind] = {label: "text", **{name.replace("_", " "): "number" for name in names}}
    return Table(
        columns,
        [[key, *map(_count, record.values())] for key, record in records.items() if any(record.values())],
    )


def _count(value: Any) -> str:
    return NONE if pd.isna(value) else f"{int(value):,}"


def _signed(value: float) -> str:
    """With two digits and its sign, nought as +0.00."""
    return f"{round(value, 2) + 0.0:+.2f}"


def _yes_or_no(value: Any) -> str:
    return "yes" if value else "no"
