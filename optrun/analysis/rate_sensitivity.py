"""How much depends on the learning rate: the sensitivity of Wortsman et al. (2023), arXiv:2309.14322."""

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from optrun.analysis.best_settings import Entry
from optrun.analysis.sensitivity import is_number
from optrun.config.goal import quantity

LEAST_RATES = 3
"""Of fewer learning rates nothing is said."""

PER_DECADE = 2
"""The number of bins per decade for rates that were drawn together with other numbers.

A drawn rate has mostly one setting, whose loss may be high because of the other numbers.
"""


def rate_sensitivity(entry: Entry, initial: float | None) -> float | None:
    """Return by how much the loss is above its lowest over the learning rates that were tried, in the mean.

        S = mean over lr of (min(ℓ(lr), ℓ₀) - ℓ*) / (ℓ₀ - ℓ*),  ℓ* = min ℓ(lr)

    where ℓ(lr) is the lowest median over seeds of the sweep's metric at a rate, and ℓ₀, ``initial``, the loss before
    the first step, which also what diverged counts as. It is 0 if the rate does not matter, and 1 - 1/n if only one of
    n rates learns. None for metrics that are not the loss, fewer than LEAST_RATES rates, where settings were pruned, or
    if nothing is below ℓ₀.
    """
    plan, selected = entry.source.plan, entry.selected
    if initial is None or plan.maximize or quantity(plan.metric) != "loss":
        return None
    rates: defaultdict[float, list[float]] = defaultdict(list)
    for index, standing in zip(selected.indices, selected.standings, strict=True):
        rate = entry.source.runs[index * plan.repeats].config["optimizer"].get("lr")
        if not is_number(rate) or rate <= 0 or standing.pruned is not None:
            return None
        rates[float(rate)].append(math.inf if standing.median is None else standing.median)
    if plan.is_drawn and _has_other_numbers(entry):
        rates = _binned(rates)
    if len(rates) < LEAST_RATES:
        return None
    lowest = np.array([min(losses) for losses in rates.values()])
    best = float(lowest.min())
    if not (math.isfinite(best) and best < initial):
        return None
    return float(((np.minimum(lowest, initial) - best) / (initial - best)).mean())


def initial_loss(entries: Iterable[Entry]) -> float | None:
    """Return the median over seeds of the loss before the first step, of the first entry that recorded it."""
    for entry in entries:
        curves = [run.curves for run in entry.curves]
        losses = [
            float(of["loss"][0]) for of in curves if "loss" in of and len(of["step"]) and of["step"][0] == 0
        ]
        if losses and len(losses) == len(curves) and np.isfinite(losses).all():
            return float(np.median(losses))
    return None


def _has_other_numbers(entry: Entry) -> bool:
    """Whether other numbers than the learning rate vary between the settings of an entry."""
    values: defaultdict[str, set[float]] = defaultdict(set)
    for standing in entry.selected.standings:
        for path, value in standing.setting.items():
            if is_number(value) and path != "optimizer.lr":
                values[path].add(value)
    return any(len(numbers) > 1 for numbers in values.values())


def _binned(rates: dict[float, list[float]]) -> defaultdict[float, list[float]]:
    binned: defaultdict[float, list[float]] = defaultdict(list)
    for rate, losses in rates.items():
        binned[math.floor(PER_DECADE * math.log10(rate))] += losses
    return binned
