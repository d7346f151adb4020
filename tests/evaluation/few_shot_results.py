"""Results of a study that nobody ran."""

import numpy as np

from lafs_pipeline.evaluation.few_shot import FewShotResult

FOLDS = 10
RESAMPLES = 2000


def made_up(gain: float, seeds: int = 5, spread: float = 0.01) -> list[FewShotResult]:
    """LAFS is better than scratch by `gain` at 4 shots and equal at 1 shot."""
    generator = np.random.default_rng(0)
    people = generator.normal(0, 0.03, RESAMPLES)
    results = []
    for shots in (1, 4):
        for seed in range(seeds):
            difficulty = generator.normal(0.6, 0.05, FOLDS)
            for method in ("scratch", "lafs"):
                own = generator.normal(0, spread, FOLDS) + gain * (method == "lafs" and shots == 4)
                folds = difficulty + own
                drawn = folds.mean() + people + generator.normal(0, spread / FOLDS, RESAMPLES)
                results.append(FewShotResult(method, shots, seed, "lfw", tuple(folds), tuple(drawn)))
    return results
