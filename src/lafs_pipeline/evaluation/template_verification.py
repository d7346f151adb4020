"""IJB-B and IJB-C: templates compared 1:1 and searched 1:N.

Source: Whitelam et al. 2017 (IJB-B), Maze et al. 2018 (IJB-C).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.identification import identify, rank_rates
from lafs_pipeline.evaluation.resampling import (
    Interval,
    PairUnits,
    SortedPairs,
    pair_units,
    percentile_intervals,
)
from lafs_pipeline.evaluation.templates import FALSE_ACCEPT_RATES, Templates, score_pairs, tar_at_far
from lafs_pipeline.evaluation.verification import carried_rates, rates_by_name
from lafs_pipeline.runtime.errors import LafsError

PROBE = "probe"
"""Role of the searched templates; any other role is a gallery's name."""
_CURVE_POINTS = 512


@dataclass(frozen=True, eq=False)
class TemplateResult:
    """What compared templates say of one model; rates are fractions.

    Attributes:
        metrics: TAR at FAR, for rates that at least one pair of different people makes up.
        intervals: of the metrics.
        drawn: what was resampled for them.
        false_accept_rate: (points,) ascending, with `true_accept_rate` the lower end of the ROC curve.
        true_accept_rate: (points,).
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    drawn: str
    false_accept_rate: np.ndarray
    true_accept_rate: np.ndarray


def verify_templates(
    templates: Templates, pairs: pd.DataFrame, subjects: pd.DataFrame, resamples: int, seed: int
) -> TemplateResult:
    """Compare the listed pairs.

    Intervals draw subjects where all are known and agree with the pairs, templates otherwise.

    Raises:
        LafsError: a template has no images, or too few pairs are of different people, or none of one.
    """
    is_same = pairs["is_same"].to_numpy(bool)
    rates = carried_rates(is_same)
    if not rates:
        raise LafsError(
            f"{np.count_nonzero(~is_same)} pairs of different people do not carry a false accept rate of "
            f"{max(FALSE_ACCEPT_RATES):g}; give at least {1 / max(FALSE_ACCEPT_RATES):.0f}"
        )
    names = list(rates_by_name("tar_at_far", dict.fromkeys(rates, 0.0)))
    scores = score_pairs(templates, pairs["template_a"].to_numpy(), pairs["template_b"].to_numpy())
    metrics = rates_by_name("tar_at_far", tar_at_far(scores, is_same, rates))
    units = _units(templates, pairs, subjects, is_same)
    sorted_pairs = SortedPairs(scores, is_same, units, reach=max(rates))
    intervals = percentile_intervals(
        lambda drawn: dict(zip(names, sorted_pairs.accepted(drawn).tar_at_far(rates), strict=True)),
        units,
        resamples,
        seed,
    )
    far, tar = sorted_pairs.accepted().curve()
    shown = np.unique(np.geomspace(1, len(far), _CURVE_POINTS).astype(int)) - 1
    return TemplateResult(metrics, intervals, units.kind, far[shown], tar[shown])


def search_metrics(templates: Templates, subjects: pd.DataFrame) -> dict[str, float]:
    """Search the probes in every gallery: TPIR at FPIR and rank rates, means over the galleries.

    Args:
        templates: all that `subjects` names.
        subjects: template, subject, role (`probe`, or the name of a gallery).

    Returns:
        By name, rates that every gallery gives; nothing without galleries or probes.
    """
    row = pd.Series(range(len(templates.ids)), index=templates.ids)
    sides = {
        str(role): (templates.features[row.loc[rows["template"]]], rows["subject"].to_numpy())
        for role, rows in subjects.groupby("role", observed=True)
    }
    probes = sides.pop(PROBE, None)
    if probes is None or not sides:
        return {}
    searches = [identify(*gallery, *probes) for gallery in sides.values()]
    tpir = pd.DataFrame([search.tpir_at_fpir for search in searches]).dropna(axis=1).mean()
    rank = pd.DataFrame([search.rank_rate for search in searches]).mean()
    return rates_by_name("tpir_at_fpir", tpir.to_dict()) | rates_by_name("rank", rank.to_dict())


def search_images(templates: Templates, subjects: pd.DataFrame) -> dict[str, float]:
    """Rank rates of probes among the images of one gallery, distractors among them (TinyFace).

    Args:
        templates: one per image.
        subjects: template, subject, role (`probe`, or any other for the gallery).
    """
    row = pd.Series(range(len(templates.ids)), index=templates.ids)
    is_probe = (subjects["role"] == PROBE).to_numpy()
    gallery, probes = (
        (templates.features[row.loc[side["template"]]], side["subject"].to_numpy())
        for side in (subjects[~is_probe], subjects[is_probe])
    )
    return {f"rank_{rank}": rate for rank, rate in rank_rates(*gallery, *probes).items()}


def _units(
    templates: Templates, pairs: pd.DataFrame, subjects: pd.DataFrame, is_same: np.ndarray
) -> PairUnits:
    positions = pd.Index(templates.ids)
    first, second = (positions.get_indexer(pairs[side]) for side in ("template_a", "template_b"))
    codes, people = pd.factorize(subjects["subject"])
    of_template = np.full(len(positions), -1, np.int32)
    of_template[positions.get_indexer(subjects["template"])] = codes
    units = pair_units(is_same, of_template[first], of_template[second], len(people))
    if units.kind == "identity":
        return units
    return pair_units(is_same, first, second, len(positions), "template")
