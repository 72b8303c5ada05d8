"""Which end of a figure is the better one."""

import re
from collections.abc import Callable
from typing import Literal

from optrun.registry import prediction_metrics

Goal = Literal["minimize", "maximize"]
GoalOf = Callable[[str], Goal]
"""Returns the goal of a figure, given its name."""

VALIDATION, TEST = "val_", "test_"
"""What the names of figures of the validation and the test data begin with; an average's have it behind `average_`."""

_FIRST = re.compile(r"^(best|area|last_\d+)_")
_AT_BEST = re.compile(r"_at_best_.*")
_OF_DATA = re.compile(r"^(average_)?(train_|val_|test_)?")


def usual_goal(metric: str) -> Goal:
    """Return which end of a figure is the better one: that of its metric; accuracies and `passed` are to be high.

    All else is to be low.
    """
    series = _FIRST.sub("", _AT_BEST.sub("", metric))
    measured = _OF_DATA.sub("", series)
    if measured != series and measured in prediction_metrics:
        goal: Goal = prediction_metrics.find(measured).goal
        return goal
    return "maximize" if series.endswith(("accuracy", "passed")) else "minimize"


def has_usual_goal(metric: str) -> bool:
    """Return whether the better end of a figure is known: of a loss, an accuracy and the metrics of predictions."""
    return quantity(metric) in prediction_metrics or metric.endswith(("loss", "accuracy", "passed"))


def goal_of(metric: str, ranked_by: str, goal: Goal) -> Goal:
    """Return the goal of a figure where settings are ranked by another one, with a goal.

    Figures of one quantity share it: `test_score` and `best_val_score` are to be high where `val_score` is.
    """
    return goal if quantity(metric) == quantity(ranked_by) else usual_goal(metric)


def quantity(metric: str) -> str:
    """Return what a figure measures, without the data, the average and the part of the curve: `loss`, `accuracy`."""
    return _OF_DATA.sub("", _FIRST.sub("", _AT_BEST.sub("", metric))).removeprefix("final_")


def of_data(metric: str) -> set[str]:
    """Return by which data a figure is decided: VALIDATION, TEST, both (one where the other is best) or neither."""
    parts = _FIRST.sub("", metric).split("_at_best_")
    return {
        data
        for part in parts
        for data in (VALIDATION, TEST)
        if part.removeprefix("average_").startswith(data)
    }


def on_data(metric: str, given: str, other: str) -> str:
    """Return the figure of other data, such as TEST in place of VALIDATION; the same if its series is of others."""
    return re.sub(rf"^((?:(?:best|area|last_\d+)_)?(?:average_)?){given}", rf"\g<1>{other}", metric)
