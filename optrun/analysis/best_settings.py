"""The best setting of a value on a problem, with the runs that tell of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.noise import are_same
from optrun.analysis.problem_labels import common_labels
from optrun.analysis.selection import Cell, Selected, edge_in, of_setting, selections
from optrun.arrays import Array
from optrun.config.goal import GoalOf
from optrun.config.sweep.model import Metric
from optrun.store import RunRecord, Status
from optrun.training.baselines import Baselines
from optrun.training.curve_figures import Evaluated, with_figure

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
