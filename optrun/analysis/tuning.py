"""How the best value of a random search depends on its number of trials."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.compare import entries_of, ranked_anew
from optrun.analysis.selection import BY, varying_part
from optrun.analysis.statistics import DRAWS, LEAST_SEEDS, interval, rank_after
from optrun.arrays import Array
from optrun.errors import ConfigError

RANDOM = "random"


@dataclass(frozen=True)
class TuningCurve:
    """The median of the best value after 1, 2, … trials, and its 95 % interval; arrays are ``[n]``.

    A value that is infinite is that of trials that diverged.
    """

    value: str
    best: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Tuning:
    """The curves of what is compared, on each problem."""

    metric: str
    maximize: bool
    problems: Sequence[tuple[str, Sequence[TuningCurve]]]


def tuning_of(sources: Sequence[ComparedSweep], by: str | None = None, metric: str | None = None) -> Tuning:
    """Return the tuning curves of random searches, by optimizer or scheduler unless ``by`` says otherwise.

    Raises ConfigError for other methods: their trials are not drawn alike, and the order of a grid means nothing.
    """
    for source in sources:
        if source.plan.method != RANDOM:
            method = source.plan.method or "unknown"
            raise ConfigError(
                f"{source.label}: a tuning curve needs a random search, whose trials are drawn alike; "
                f"the method of this sweep is {method}"
            )
    ranked = list(sources) if metric is None else ranked_anew(sources, metric)
    metrics = dict.fromkeys((each.plan.metric, each.plan.maximize) for each in ranked)
    if len(metrics) > 1:
        names = " and ".join(name for name, _ in metrics)
        raise ConfigError(f"the metrics of the sweeps are {names}: choose one by metric")
    if by is None and len(sources) == 1:
        by = varying_part(sources[0].configs) or BY
    _, entries = entries_of(ranked, by)
    if not entries:
        raise ConfigError("nothing to draw yet: no run has a result")
    ((name, maximize),) = metrics
    problems = [
        (
            problem,
            [
                _curve(cell.value, each.draws, maximize)
                for cell, each in entries.items()
                if cell.problem == problem
            ],
        )
        for problem in dict.fromkeys(cell.problem for cell in entries)
    ]
    return Tuning(name, maximize, problems)


def _curve(value: str, draws: Sequence[float], maximize: bool) -> TuningCurve:
    sign = -1.0 if maximize else 1.0
    costs = np.sort(draws)
    count = len(costs)
    ranks = np.array([rank_after(count, trials) for trials in range(1, count + 1)])
    best = costs[ranks]
    low = high = np.full(count, np.nan)
    if count >= LEAST_SEEDS:
        generator = np.random.default_rng(0)
        # The ranks are few: as many as have different values.
        drawn = np.sort(costs[generator.integers(count, size=(DRAWS, count))], axis=1)
        ends = {rank: interval(drawn[:, rank]) for rank in set(ranks.tolist())}
        low, high = (np.array([ends[rank][side] for rank in ranks.tolist()]) for side in (0, 1))
    return TuningCurve(value, sign * best, *((sign * high, sign * low) if maximize else (low, high)))
