"""The curves of a setting: median and quartiles over its seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from optrun.analysis.leaderboard import QUARTILES, SweepPlan, leaderboard
from optrun.analysis.problem_labels import chosen_problem, several_problems
from optrun.arrays import Array
from optrun.errors import ConfigError, did_you_mean
from optrun.store import RunState, Status

MOST_CURVES = 6
"""The most settings of a sweep to draw, the best first."""

Table = Mapping[str, Array]
"""Arrays `[n]` by name, `step` among them."""
Bands = dict[str, tuple[Array, Array]]


class CurveSource(Protocol):
    """A store, or memory."""

    def curves(self, run: int) -> Table: ...
    def evaluations(self, run: int) -> Table: ...


@dataclass(frozen=True)
class Curves:
    """A run, or a setting with several seeds, to draw: label, curves and evaluations."""

    label: str
    curves: Mapping[str, Array]
    evaluations: Mapping[str, Array]
    bands: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    """The quartiles over the seeds, by curve or evaluation; `curves` and `evaluations` then hold the medians."""

    @property
    def metrics(self) -> list[str]:
        """The names of the curves, then of the evaluations."""
        return [name for name in {**self.curves, **self.evaluations} if name != "step"]

    def points(self, metric: str) -> tuple[Array, Array]:
        """Return the steps and the values of a curve, or else of the evaluation of that name."""
        source = self.curves if metric in self.curves else self.evaluations
        return source["step"], source[metric]


def best_settings(
    plan: SweepPlan, states: Sequence[RunState], most: int, problem: str | None = None
) -> list[list[int]]:
    """Return the runs of each of the best settings, the best first: those that neither diverged nor failed, else all.

    Settings without an ended run are left out. Raises ConfigError if there are several problems and none is chosen.
    """
    if plan.problems and problem is None:
        raise several_problems(plan.problems, "a picture of the best curves")
    label = None if problem is None else chosen_problem(plan.problems, problem)
    return list(islice((runs for of, runs in ended_settings(plan, states) if of == label), most))


def ended_settings(plan: SweepPlan, states: Sequence[RunState]) -> Iterator[tuple[str | None, list[int]]]:
    """Yield the problem and the runs of each setting with an ended run, as `best_settings` has them."""
    for each in leaderboard(plan, states):
        ended = [run for run in range(each.first, each.first + each.runs) if states[run].status.final]
        good = [run for run in ended if states[run].status not in (Status.DIVERGED, Status.FAILED)]
        if ended:
            yield each.problem, good or ended


def setting_curves(store: CurveSource, runs: Sequence[int], smooth: int = 1) -> Curves:
    """Return the medians and quartiles of the curves and evaluations of runs, at the steps that all runs have.

    Each run is smoothed first.
    """
    return curves_of([(store.curves(run), store.evaluations(run)) for run in runs], smooth)


def curves_of(runs: Sequence[tuple[Table, Table]], smooth: int = 1, label: str = "") -> Curves:
    """Return the medians and quartiles of runs, each given by its curves and evaluations, after smoothing."""
    tables = [[smoothed(table, smooth) for table in of] for of in zip(*runs, strict=True)]
    if len(runs) == 1:
        return Curves(label, tables[0][0], tables[1][0])
    (curves, bands), (evaluations, others) = map(merged, tables)
    return Curves(label, curves, evaluations, {**others, **bands})


def smoothed(table: Table, count: int) -> Table:
    """Return a table whose values are means of so many rows, the last of them its own; the first rows have fewer.

        x̄ₖ = mean of xⱼ, max(0, k - count + 1) ≤ j ≤ k

    Steps and learning rates stay as they are.
    """
    if count == 1:
        return table
    return {
        name: values if name == "step" or name.partition(".")[0] == "lr" else _running_mean(values, count)
        for name, values in table.items()
    }


def _running_mean(values: Array, count: int) -> Array:
    # No differences of sums: a loss that falls by many decades would be lost in their rounding errors.
    first = [values[:end].mean() for end in range(1, min(count, len(values) + 1))]
    windows = sliding_window_view(values, count).mean(axis=-1) if len(values) >= count else []
    return np.concatenate([first, windows])


def merged(tables: Sequence[Table]) -> tuple[dict[str, Array], Bands]:
    """Return the medians and the quartiles of columns, at the steps that all tables have."""
    if not all(tables):
        return {}, {}
    steps = reduce(np.intersect1d, [table["step"] for table in tables])
    rows = [np.searchsorted(table["step"], steps) for table in tables]
    medians: dict[str, Array] = {"step": steps}
    bands: Bands = {}
    for name in tables[0]:
        if name == "step" or not all(name in table for table in tables):
            continue
        values = np.stack([table[name][at] for table, at in zip(tables, rows, strict=True)])
        with np.errstate(invalid="ignore"):
            lower, medians[name], upper = np.percentile(values, QUARTILES, axis=0)
        bands[name] = (lower, upper)
    return medians, bands


def missing_curve(name: str, metric: str, known: Sequence[str]) -> ConfigError:
    """Return the error for a curve that a run lacks; ``name`` is that of the run."""
    if not known:
        return ConfigError(f"{name}: no curves yet: rows are stored with each checkpoint and at the end")
    hint = did_you_mean(metric, known) or " `record: {metrics: […]}` chooses what is recorded"
    return ConfigError(f"{name}: no curve {metric!r}; it has {', '.join(known)}.{hint}")


def caption_of(chosen: Sequence[Curves]) -> str:
    """Return a caption for curves of settings of a sweep, empty for curves of runs."""
    if not any(each.bands for each in chosen):
        return ""
    best = f"the best {len(chosen)} settings" if len(chosen) > 1 else "the setting"
    return f"{best}, each the median over its seeds"
