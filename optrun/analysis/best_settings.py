"""The rows of a comparison: the best setting of a value on a problem, over its seeds and beside the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from optrun.analysis.comparison import ComparisonRow, Difference, ProblemTable
from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.noise import are_same
from optrun.analysis.problem_labels import common_labels
from optrun.analysis.selection import Cell, Selected, edge_in, of_setting, selections
from optrun.analysis.statistics import (
    SIGNIFICANCE,
    IntervalEstimate,
    best_after,
    bootstrap,
    holm,
    interquartile_mean,
    median,
    signed_rank,
)
from optrun.analysis.untrained import untrained_of
from optrun.arrays import Array
from optrun.config.goal import GoalOf
from optrun.config.sweep.model import Metric
from optrun.store import RunRecord, Status
from optrun.training.baselines import Baselines, baselines_in
from optrun.training.curve_figures import Evaluated, with_figure

BUDGETS = (1, 4, 16, 64)
"""Numbers of trials after which the best value of a random search is told."""

Values = Mapping[int, float]
"""The costs of a setting by seed: its metric where lower is better, else minus that; +∞ where it diverged."""


class WithCurves(Protocol):
    """A run with its curves."""

    @property
    def curves(self) -> Mapping[str, Array]: ...
    @property
    def evaluations(self) -> Mapping[str, Array]: ...


@dataclass(frozen=True)
class ComparedSweep:
    """A sweep to compare, and the confirmation of its selected settings on other seeds."""

    label: str
    plan: SweepPlan
    runs: Sequence[RunRecord]
    confirmed: "ComparedSweep | None" = None
    curves: Sequence[WithCurves] = ()
    """The curves of the runs, in the same order; they are read when they are asked for."""
    evaluated: Evaluated | None = None
    """Where figures of the evaluations are computed from."""
    path: Path | None = None
    """What `optrun resume` continues; None where nothing is saved, or a process is at it."""
    confirms: bool = False
    """Whether its config asks for a confirmation."""
    baselines: Mapping[str, Baselines] = field(default_factory=dict)
    """Figures of what predicts without training, as `baselines_in` takes them."""
    tuned: "ComparedSweep | None" = None
    """The sweep whose selected settings this one confirms, where it is compared by itself."""

    @property
    def configs(self) -> list[Mapping[str, Any]]:
        """The config of each setting, with its first seed."""
        return [run.config for run in self.runs[:: self.plan.repeats]]

    def measured(self, metric: str, goals: GoalOf) -> "ComparedSweep":
        """Return the sweep and its confirmation with a metric of their runs that may be one of the evaluations."""
        if self.evaluated is None:
            return self
        found = replace(self, runs=with_figure(self.runs, self.evaluated, metric, goals))
        if self.confirmed is None:
            return found
        is_own = self.confirmed.runs is self.runs
        return replace(found, confirmed=found if is_own else self.confirmed.measured(metric, goals))


@dataclass(frozen=True)
class Entry:
    """The selected setting of a cell, with where it comes from."""

    selected: Selected
    source: ComparedSweep
    metric: Metric
    """What is reported; the setting was selected by the metric of its sweep."""
    is_confirmed: bool = True
    """Whether the runs of a confirmation are reported, if there is one."""
    by: str | None = None
    """The path whose values are compared."""

    @property
    def sign(self) -> float:
        """What makes a cost of the metric."""
        return -1.0 if self.metric.goal == "maximize" else 1.0

    @cached_property
    def results(self) -> tuple[Sequence[RunRecord], bool]:
        """The runs to report, and whether their seeds took no part in the selection.

        Those of a confirmation are reported once all have ended.
        """
        confirmed, setting = self.source.confirmed, self.selected.standing.setting
        if self.is_confirmed and confirmed is not None and setting in confirmed.plan.settings:
            runs = of_setting(confirmed.plan, confirmed.runs, list(confirmed.plan.settings).index(setting))
            # A confirmation that is compared by itself may have several settings to choose from.
            is_choice = confirmed.runs is self.source.runs and len(self.selected.tried) > 1
            if all(run.status.final for run in runs):
                return runs, not is_choice
        return of_setting(self.source.plan, self.source.runs, self.selected.index), False

    @property
    def edge(self) -> Sequence[str]:
        """The parameters at an edge of the values that were tried, those of a confirmation in the sweep before it."""
        tuned, setting = self.source.tuned, self.selected.standing.setting
        if tuned is None or setting not in tuned.plan.settings:
            return self.selected.edge
        return edge_in(tuned.plan, tuned.runs, list(tuned.plan.settings).index(setting), self.by)

    @property
    def pruned(self) -> int | None:
        """The step at which the setting was pruned, None if it was not."""
        return min((run.steps for run in self.results[0] if run.status is Status.PRUNED), default=None)

    @property
    def curves(self) -> Sequence[WithCurves]:
        """The curves of the runs of the sweep, or of its confirmation, that are reported; none where there are none."""
        source, (runs, is_confirmed) = self.source, self.results
        of = source.confirmed if is_confirmed and source.confirmed is not None else source
        return [of.curves[run.run] for run in runs] if of.curves else []

    @property
    def draws(self) -> list[float]:
        """The cost of each drawn setting by the metric of the sweep, the lowest of those that it was crossed with.

        Settings that share a draw are not drawn independently of each other.
        """
        plan, selected = self.source.plan, self.selected
        sign = -1.0 if plan.maximize else 1.0
        lowest: dict[str, float] = {}
        for standing in selected.standings:
            draw = repr([(path, of) for path, of in standing.setting.items() if path not in plan.crossed])
            cost = math.inf if standing.median is None else sign * standing.median
            lowest[draw] = min(cost, lowest.get(draw, math.inf))
        return list(lowest.values())

    @cached_property
    def costs(self) -> Values:
        """The metric by seed, as a cost; without runs that have not ended or failed, or that lack the metric."""
        costs = {run.seed: self._cost(run) for run in self.results[0]}
        return {seed: cost for seed, cost in costs.items() if cost is not None}

    @cached_property
    def is_one(self) -> bool:
        """Whether the seed changes nothing: all of several runs are the same, and so they are one observation.

        Runs that have only the metric in common, such as its worst value, are several.
        """
        return are_same([run for run in self.results[0] if run.seed in self.costs])

    def _cost(self, run: RunRecord) -> float | None:
        if not run.status.final or run.status is Status.FAILED:
            return None
        value = run.figure(self.metric.name)
        if value is None:
            return math.inf if run.has_figure(self.metric.name) else None
        return self.sign * value


def best_entries(
    sources: Sequence[ComparedSweep], metric: Metric | None, by: str | None
) -> list[dict[Cell, Entry]]:
    """Return the best setting of each cell of each sweep; a cell without results is not among them.

    What is reported is the metric, by default that of the sweep. Raises as `selections` does.
    """
    labels = common_labels([source.configs for source in sources])
    return [
        {
            selected.cell: Entry(
                selected, source, metric or Metric(name=source.plan.metric, goal=source.plan.goal), by=by
            )
            for selected in selections(source.plan, source.runs, by, problems=problems)
        }
        for source, problems in zip(sources, labels, strict=True)
    ]


def problem_table(problem: str, entries: Mapping[str, Entry], baseline: str) -> ProblemTable:
    of_baseline = entries.get(baseline)
    rows = [
        _row(value, entry, None if value == baseline else of_baseline) for value, entry in entries.items()
    ]
    lists = [list(entry.costs.values()) for entry in entries.values() if not entry.is_one]
    deviations = [_deviation(costs) for costs in lists if len(costs) > 1 and np.isfinite(costs).all()]
    sign = next(iter(entries.values())).sign
    rows.sort(key=lambda row: math.inf if row.median is None else sign * row.median)
    noise = _finite(float(np.median(deviations))) if deviations else None
    known = [each for each in deviations if math.isfinite(each)]
    span = (min(known), max(known)) if known else None
    first = next(iter(entries.values()))
    untrained = untrained_of(
        baselines_in(first.source.baselines, first.results[0][0].config), first.metric.name
    )
    return ProblemTable(problem, noise, rows, all(row.constant for row in rows), span, untrained)


def _deviation(costs: Sequence[float]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.std(costs, ddof=1))


def _row(value: str, entry: Entry, baseline: Entry | None) -> ComparisonRow:
    selected, costs, sign = entry.selected, entry.costs, entry.sign
    values = list(costs.values())
    middle = _signed(bootstrap(values, median), sign)
    runs, is_confirmed = entry.results
    config = runs[0].config
    return ComparisonRow(
        value,
        selected.standing.setting,
        len(costs),
        _finite(middle.value),
        _finite(sign * float(interquartile_mean(np.asarray(values)))),
        _finite(middle.low),
        _finite(middle.high),
        None if baseline is None else _difference(entry, baseline),
        None,
        sum(cost == math.inf for cost in values),
        entry.edge,
        len(selected.tried),
        is_confirmed,
        _after(entry),
        sum(run.status.final for run in runs) - len(costs),
        entry.pruned,
        entry.is_one,
        f"{config.get('epochs')} epochs" if config.get("epochs") else f"{config.get('steps')} steps",
        _steps(runs),
        is_tied=len(costs) > 1 and len(set(costs.values())) == 1,
    )


def _steps(runs: Sequence[RunRecord]) -> tuple[int, int] | None:
    gone = (Status.FAILED, Status.DIVERGED, Status.PRUNED)
    ended = [run.steps for run in runs if run.status.final and run.status not in gone]
    return (min(ended), max(ended)) if ended else None


def _difference(entry: Entry, baseline: Entry) -> Difference | None:
    """Return the differences of equal seeds; None without any, or where one side was pruned."""
    pairs = [(cost, baseline.costs[seed]) for seed, cost in entry.costs.items() if seed in baseline.costs]
    if not pairs or entry.pruned is not None or baseline.pruned is not None:
        return None
    differences = [_apart(own, other) for own, other in pairs]
    found, test = _signed(bootstrap(differences, median), entry.sign), signed_rank(differences)
    is_one = entry.is_one and baseline.is_one
    return Difference(
        _finite(found.value),
        None if is_one else _finite(found.low),
        None if is_one else _finite(found.high),
        None if is_one else test.p,
        len(pairs),
        None if test.direction == 0 else test.direction < 0,
    )


def _apart(own: float, other: float) -> float:
    """Return the difference of two costs, to 12 digits, so that equal ones are; two runs that diverged are equal."""
    if own == other:
        return 0.0
    difference = own - other
    if not math.isfinite(difference):
        return difference
    return round(difference, 12 - math.frexp(max(abs(own), abs(other)))[1] * 3 // 10)


def _signed(estimate: IntervalEstimate, sign: float) -> IntervalEstimate:
    low, high = (None if each is None else sign * each for each in (estimate.low, estimate.high))
    return IntervalEstimate(sign * estimate.value + 0.0, *((low, high) if sign > 0 else (high, low)))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _after(entry: Entry) -> dict[int, float | None]:
    """Return the best value after some trials of random search; other methods draw no settings alike."""
    plan, costs = entry.source.plan, entry.draws
    if plan.method != "random" or plan.metric != entry.metric.name:
        return {}
    return {
        trials: _finite(entry.sign * best_after(costs, trials)) for trials in BUDGETS if trials <= len(costs)
    }


def _is_contrary(difference: Difference, *, maximize: bool) -> bool:
    """Whether the median is in favour of one side, and the signed ranks of the other."""
    if not difference.median:
        return False
    return ((difference.median > 0) is maximize) is not difference.better


def corrected(tables: Sequence[ProblemTable], *, maximize: bool) -> list[ProblemTable]:
    """Return the tables with p-values corrected for the number of comparisons."""
    tested = [
        (row.difference.p, place, row.value)
        for place, table in enumerate(tables)
        for row in table.rows
        if row.difference is not None and row.difference.p is not None
    ]
    corrected = {
        (place, value): p for (_, place, value), p in zip(tested, holm([p for p, *_ in tested]), strict=True)
    }

    def of(place: int, row: ComparisonRow) -> ComparisonRow:
        p = corrected.get((place, row.value))
        if row.difference is None or p is None:
            return row
        is_shown = p <= SIGNIFICANCE and not _is_contrary(row.difference, maximize=maximize)
        return replace(row, difference=replace(row.difference, p=p), separable=is_shown)

    return [replace(table, rows=[of(place, row) for row in table.rows]) for place, table in enumerate(tables)]
