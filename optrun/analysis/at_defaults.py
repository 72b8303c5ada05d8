"""What optimizers are without tuning: the settings of a sweep that leave all hyperparameters at their defaults."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from optrun.analysis.best_settings import Entry
from optrun.analysis.statistics import median
from optrun.registry import optimizers

ROUNDING = 1e-9
"""A hyperparameter that differs from its default by this part of it is equal: a grid may miss it by rounding."""


def at_defaults(entry: Entry) -> float | None:
    """Return the median of the reported metric at the default hyperparameters of an entry's optimizer.

    Of several such settings, which differ in other things, it is the one that the sweep's metric ranks first. None
    where there is none, or where the median is not finite.
    """
    selected = entry.selected
    for index, standing in zip(selected.indices, selected.standings, strict=True):
        config = entry.source.runs[index * entry.source.plan.repeats].config
        if standing.pruned is None and has_defaults(config):
            costs = list(
                replace(entry, selected=replace(selected, index=index, standing=standing)).costs.values()
            )
            value = float(median(np.asarray(costs))) if costs else math.inf
            return entry.sign * value if math.isfinite(value) else None
    return None


def has_defaults(config: Mapping[str, Any]) -> bool:
    """Whether every hyperparameter of a config's optimizer is the default of its class, for all parameters and steps.

    The scheduler of the learning rate is no hyperparameter of the optimizer. Of an optimizer that is not known here,
    such as that of a plugin, nothing is known.
    """
    block = config["optimizer"]
    if config.get("schedules") or block.get("name") not in optimizers:
        return False
    options = optimizers.find(block["name"]).options()
    return all(
        key in options and _is_equal(value, options[key].default)
        for key, value in block.items()
        if key != "name"
    )


def _is_equal(value: Any, default: Any) -> bool:
    if isinstance(default, (tuple, list)):
        return (
            isinstance(value, (tuple, list))
            and len(value) == len(default)
            and all(map(_is_equal, value, default))
        )
    if isinstance(value, float) and isinstance(default, (int, float)) and not isinstance(default, bool):
        return math.isclose(value, default, rel_tol=ROUNDING)
    return bool(value == default)
