"""The ranking of values over problems: normalised scores, ranks, performance profiles."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from optrun.analysis.best_settings import Values
from optrun.analysis.comparison import Rank
from optrun.analysis.statistics import (
    average_ranks,
    cost_ratios,
    improvement_probability,
    interquartile_mean,
    profile_score,
    stratified_bootstrap,
)
from optrun.arrays import Array


def ranking(problems: Sequence[Mapping[str, Values]], baseline: str) -> Iterator[Rank]:
    """Yield the values that have a result on every problem, the best score first."""
    names = [name for name in problems[0] if all(problem.get(name) for problem in problems)]
    if len(problems) < 2 or len(names) < 2:
        return
    lists = {name: [list(problem[name].values()) for problem in problems] for name in names}
    medians = np.array(
        [[float(np.median(lists[name][place])) for name in names] for place in range(len(problems))]
    )
    ranks = average_ranks(medians)
    profile = profile_score(cost_ratios(medians)) if (medians > 0).all() else None
    found = []
    for column, name in enumerate(names):
        scores = [_scores(costs, medians[place]) for place, costs in enumerate(lists[name])]
        score = stratified_bootstrap(
            scores, lambda strata: interquartile_mean(np.concatenate(strata, axis=-1))
        )
        found.append(
            Rank(
                name,
                score.value,
                score.low,
                score.high,
                float(ranks[column]),
                None if profile is None else float(profile[column]),
                None
                if name == baseline or baseline not in lists
                else improvement_probability(lists[name], lists[baseline]),
            )
        )
    yield from sorted(found, key=lambda rank: -rank.score)


def _scores(costs: Sequence[float], medians: Array) -> list[float]:
    """Return 1 for costs at the best of the medians, 0 for those at the worst finite one and beyond."""
    finite = medians[np.isfinite(medians)]
    if not len(finite):
        return [0.0] * len(costs)
    best, worst = float(finite.min()), float(finite.max())
    if best == worst:
        return [float(np.isfinite(cost)) for cost in costs]
    return [min(1.0, max(0.0, (worst - cost) / (worst - best))) for cost in costs]
