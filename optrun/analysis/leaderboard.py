"""The settings of a sweep in the order of a metric: its median and quartiles over the repeats."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optrun.errors import StoreError, counted
from optrun.store import RunState, Status, Store
from optrun.store.event_names import PLAN, PLUGINS

QUARTILES = (25, 50, 75)


@dataclass(frozen=True)
class Standing:
    """How one setting did: the median and the quartiles of its runs that ended, where what diverged is the worst.

    A figure that is the worst is None, and so are all before a run has ended, or where all have failed.
    """

    setting: Mapping[str, Any]
    first: int
    """The number of its first run."""
    runs: int
    diverged: int
    failed: int
    lacking: int
    """Runs whose end came before there was a value of the metric, such as an average."""
    pruned: int | None
    """The step at which it was stopped, and from which its figures are."""
    waiting: int
    """Runs that have not ended."""
    median: float | None
    lower: float | None
    """The first quartile."""
    upper: float | None
    """The third quartile."""
    reached: int = 0
    """Runs that ended at `stop.target`."""
    steps_to_target: float | None = None
    """The median of the steps until then; None where half of the runs that ended, or more, have not come there."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SweepPlan:
    """What a store tells of a sweep."""

    settings: Sequence[Mapping[str, Any]]
    repeats: int
    metric: str
    maximize: bool
    runs: int = 0
    """How many there are to be, where more than there are: those that have not been asked for yet."""
    method: str = ""
    """How its settings are chosen, empty where it was not noted."""
    plugins: tuple[str, ...] = ()
    """What was loaded for it."""

    def setting(self, run: int) -> Mapping[str, Any]:
        """Return the setting of a run."""
        return self.settings[run // self.repeats]


def plan_of(store: Store) -> SweepPlan | None:
    """Return the plan of a sweep, None for a single run; StoreError where it is damaged."""
    plans = [event.details for event in store.events(PLAN)]
    if not plans:
        return None
    # One that has a digest took the place of those before.
    plans = plans[max((i for i, details in enumerate(plans) if "digest" in details), default=0) :]
    try:
        settings = [dict(setting) for details in plans for setting in details["settings"]]
        repeats, metric = plans[0]["repeats"], plans[0]["metric"]
        runs = int(plans[-1].get("runs", 0))
        plan = SweepPlan(
            settings,
            int(repeats),
            str(metric["name"]),
            metric["goal"] == "maximize",
            runs,
            str(plans[0].get("method", "")),
            tuple(map(str, plans[0].get("plugins", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{store.path}: the plan of the sweep is damaged: {error!r}") from error
    if len(plan.settings) * plan.repeats != store.size:
        raise StoreError(f"{store.path}: the plan of the sweep is not one of {counted(store.size, 'run')}")
    return plan


def plugins_of(store: Store) -> tuple[str, ...]:
    """Return which plugins were loaded for a run or a sweep when it began."""
    plan = plan_of(store)
    if plan is not None:
        return plan.plugins
    noted = [event.details.get("plugins") for event in store.events(PLUGINS)]
    return tuple(map(str, noted[0])) if noted and isinstance(noted[0], list) else ()


def is_sweep(path: Path) -> bool:
    """Whether a directory holds a sweep, and not a single run; StoreError where it holds neither."""
    with Store.open(path) as store:
        return plan_of(store) is not None


def single(store: Store, run: int | None) -> int:
    """Return the number of the run that is meant: of a sweep it has to be named; StoreError otherwise."""
    if run is None and store.size > 1:
        example = f"{store.path}:0"
        raise StoreError(
            f"{store.path}: a sweep of {counted(store.size, 'run')}: name one of them, such as {example}"
        )
    return store.run(run or 0).run


def leaderboard(plan: SweepPlan, states: Sequence[RunState]) -> list[Standing]:
    """Return the settings, the best median first.

    A run that diverged counts as the worst. A setting that was pruned is behind all that came further, and one with a
    run that failed or lacks the metric behind all without.
    """
    worst = -math.inf if plan.maximize else math.inf
    groups = [
        states[index * plan.repeats : (index + 1) * plan.repeats] for index in range(len(plan.settings))
    ]
    quartiles = _quartiles([_figures(group, plan.metric, worst) for group in groups])
    standings = [
        _standing(setting, index * plan.repeats, group, plan.metric, *of_group)
        for index, (setting, group, of_group) in enumerate(zip(plan.settings, groups, quartiles, strict=True))
    ]

    def place(of: Standing) -> tuple[bool, bool, float, float]:
        if of.median is None:
            return True, True, 0.0, -(of.runs - of.diverged - of.failed - of.lacking - of.waiting) / of.runs
        came = math.inf if of.pruned is None else of.pruned
        return (
            False,
            of.failed + of.lacking > 0,
            -came,
            -of.median if plan.maximize else of.median,
        )

    return sorted(standings, key=place)


def _figures(states: Sequence[RunState], metric: str, worst: float) -> list[float]:
    """Return the metric of the runs that ended, but of those that failed or lack it; of one that diverged the worst."""
    ended = [state for state in states if state.status.final and state.status is not Status.FAILED]
    figures = [(state.figure(metric), state.is_bad or metric in state.summary) for state in ended]
    return [worst if figure is None else figure for figure, counts in figures if counts]


def _standing(
    setting: Mapping[str, Any],
    first: int,
    states: Sequence[RunState],
    metric: str,
    lower: float | None,
    median: float | None,
    upper: float | None,
) -> Standing:
    ended = [state for state in states if state.status.final]
    failed = sum(state.status is Status.FAILED for state in ended)
    lacking = sum(not state.is_bad and metric not in state.summary for state in ended)
    finite = sum(state.figure(metric) is not None for state in ended)
    reached = [state.steps for state in ended if state.status is Status.TARGET_REACHED]
    steps = sorted([*reached, *[math.inf] * (len(ended) - len(reached))])
    to_target = statistics.median(steps) if reached else math.inf
    return Standing(
        setting,
        first,
        len(states),
        len(ended) - failed - lacking - finite,
        failed,
        lacking,
        min((state.steps for state in ended if state.status is Status.PRUNED), default=None),
        len(states) - len(ended),
        median,
        lower,
        upper,
        len(reached),
        to_target if math.isfinite(to_target) else None,
    )


def _quartiles(groups: Sequence[Sequence[float]]) -> list[tuple[float | None, float | None, float | None]]:
    """Return the quartiles of each group; those of all groups of one size are found at once."""
    found: list[tuple[float | None, float | None, float | None]] = [(None, None, None)] * len(groups)
    by_size: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        by_size.setdefault(len(group), []).append(index)
    by_size.pop(0, None)
    for alike in by_size.values():
        for index, row in zip(alike, _percentiles([groups[index] for index in alike]), strict=True):
            found[index] = tuple(value if math.isfinite(value) else None for value in row)  # type: ignore[assignment]
    return found


def _percentiles(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the quartiles of each row; not finite where one lies between numbers that are not."""
    values = np.array(rows)
    with np.errstate(invalid="ignore"):
        found = np.percentile(values, QUARTILES, axis=1)
    if not np.isfinite(values).all():
        # Between two numbers NumPy takes a share of their distance, though it be 0 of an infinite one.
        lower, upper = (
            np.percentile(values, QUARTILES, axis=1, method=method) for method in ("lower", "higher")
        )
        found = np.where(lower == upper, lower, found)
    quartiles: list[list[float]] = found.T.tolist()
    return quartiles
