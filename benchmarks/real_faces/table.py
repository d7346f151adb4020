"""The tables of the benchmark."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.few_shot import FewShotResult, few_shot_table, paired_differences
from lafs_pipeline.runtime.seeding import random_generator

RESAMPLES = 1000


def results_of(folder: Path) -> dict[str, dict]:
    """Values by task."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("results/*.json"))}


def few_shot_results(results: dict[str, dict], prefix: str, benchmark: str) -> list[FewShotResult]:
    """Adaptations, of the seeds and draws that all arms have; folds are resampled, all arms alike."""
    found = []
    for name, values in results.items():
        kind, *words = name.split("-")
        if kind == prefix and benchmark in values:
            arm, seed, shots, draw = words
            number = 10 * int(seed[1:]) + int(draw)
            folds = np.array(values[benchmark]["fold_accuracy"])
            drawn = random_generator(0, "folds").integers(len(folds), size=(RESAMPLES, len(folds)))
            resampled = tuple(folds[drawn].mean(axis=1))
            found.append(FewShotResult(arm, int(shots), number, benchmark, tuple(folds), resampled))
    arms = {result.method for result in found}
    complete = {
        setting
        for setting in {(result.shots, result.seed) for result in found}
        if {result.method for result in found if (result.shots, result.seed) == setting} == arms
    }
    return sorted(
        (result for result in found if (result.shots, result.seed) in complete),
        key=lambda result: (result.shots, result.seed, result.method != "scratch", result.method),
    )


def print_tables(folder: Path) -> None:
    """Print everything that is there."""
    pd.set_option("display.width", 160)
    results = results_of(folder)
    for prefix, benchmark in (
        ("adapt", "development"),
        ("adapt", "lfw"),
        ("adapt", "people"),
        ("people", "development"),
        ("people", "lfw"),
    ):
        found = few_shot_results(results, prefix, benchmark)
        if found:
            print(f"\n## adapted to {prefix}, {benchmark}: accuracy in percent (chance 50)")
            table = few_shot_table(found)
            table["cell"] = table["mean"].map("{:.1f}".format) + " ± " + table["std"].map("{:.1f}".format)
            print(table.pivot(index="method", columns="shots", values="cell").to_string())
            print(f"seeds and draws: {table.groupby('shots')['seeds'].first().to_dict()}")
            differences = paired_differences(found)
            if len(differences):
                print(differences[differences["better"] == "lafs"].round(1).to_string(index=False))
    print("\n## frozen: accuracy in percent")
    rows = [
        {"arm": name.removeprefix("frozen-"), "knn": 100 * values["knn"]}
        | {key: 100 * value["accuracy"] for key, value in values.items() if isinstance(value, dict)}
        for name, values in results.items()
        if name.startswith("frozen-")
    ]
    print(pd.DataFrame(rows).round(1).to_string(index=False))
    print("\n## development accuracy by steps of adaptation")
    for name, values in results.items():
        if name.startswith("curve-"):
            print(f"{name:28}{100 * values['development']['accuracy']:6.1f}")
    seconds = pd.Series({name: values["seconds"] for name, values in results.items()})
    print("\n## seconds, by kind of task")
    print(seconds.groupby(seconds.index.str.partition("-").get_level_values(0)).mean().round(1).to_string())
