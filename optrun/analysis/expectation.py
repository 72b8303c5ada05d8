"""What a sweep as a whole is expected to reach: whether it can be, and whether its best settings have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optrun.analysis.best_settings import ComparedSweep, Entry
from optrun.analysis.check import middle
from optrun.analysis.selection import Cell, cells_of, selections, value_at
from optrun.config import Bounds, ConfigErrors, Issue, unmet
from optrun.config.sweep.expect import BEST, BY, SweepExpectation
from optrun.config.sweep.model import Metric
from optrun.errors import counted, did_you_mean
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.packs import Group
from optrun.training.figures import not_expected


@dataclass(frozen=True)
class Judged:
    """The best setting of a cell beside what is expected of it."""

    key: str
    """What has the bounds in the config: `best`, or a value."""
    cell: Cell
    setting: Mapping[str, Any] | None
    """None where no setting has a result."""
    seeds: int
    figures: Mapping[str, float | None]
    """The median over seeds of each figure that has bounds and was measured; None where it is not finite."""
    misses: Sequence[Issue]


def check_expectation(plan: Plan, groups: Sequence[Group]) -> None:
    """Raise ConfigErrors where something is expected of a value that no setting has, or of a figure not measured.

    Settings that are added on the way may have other values.
    """
    expected = plan.swept.expected
    if expected is None:
        return
    issues = list(_unknown_values(expected, plan)) if expected.by and not plan.method.grows else []
    for key, bounds in _bounds(expected).items():
        for name in bounds:
            issues += list(_unmeasured(expected, key, name, plan, groups))[:1]
    if issues:
        raise ConfigErrors(issues)


def _unknown_values(expected: SweepExpectation, plan: Plan) -> Iterator[Issue]:
    documents = plan.documents[:: plan.repeats]
    known = dict.fromkeys(value for each in documents if (value := value_at(each, expected.by)) is not None)
    if not known:
        yield expected.issue((BY,), f"no setting has {expected.by}")
        return
    for value in expected.values:
        if value not in known:
            hint = did_you_mean(value, known) or f" There are: {', '.join(known)}"
            yield expected.issue((value,), f"no setting has this {expected.by}.{hint}", at_key=True)


def _unmeasured(
    expected: SweepExpectation, key: str, name: str, plan: Plan, groups: Sequence[Group]
) -> Iterator[Issue]:
    for group in groups:
        values = {value_at(plan.documents[run], expected.by) for run in group.runs}
        if not group.figures or not (key == BEST or key in values):
            continue
        if missing := not_expected(plan.configs[group.runs[0]], name, group.figures):
            yield expected.issue((key, name), missing, at_key=True)


def judged(expected: SweepExpectation, source: ComparedSweep) -> list[Judged]:
    """Return how the best settings of a sweep did, those with `best` first; of its confirmation, if there is one."""
    found = []
    for key, bounds in _bounds(expected).items():
        by, value = ("", "") if key == BEST else (expected.by, key)
        chosen = {each.cell: each for each in selections(source.plan, source.runs, by)}
        cells = [
            each for each in dict.fromkeys(cells_of(source.plan, source.runs, by)) if each.value == value
        ]
        for cell in cells or [Cell("", value)]:
            if cell not in chosen:
                missing = expected.issue((key,), f"no setting has a result{_on(cell)}", at_key=True)
                found.append(Judged(key, cell, None, 0, {}, [missing]))
                continue
            goals = source.plan.goal_of
            metrics = [Metric(name=name, goal=goals(name)) for name in bounds]
            entries = {
                each.name: Entry(chosen[cell], source.measured(each.name, goals), each) for each in metrics
            }
            seeds = max(len(entry.costs) for entry in entries.values())
            figures = {name: middle(entry, entry.costs) for name, entry in entries.items() if entry.costs}
            missed = [
                expected.issue(
                    (key, miss.name, miss.bound),
                    f"{miss.reason} (the median of {counted(seeds, 'seed')}{_on(cell)})",
                )
                for miss in unmet(bounds, figures)
            ]
            found.append(Judged(key, cell, chosen[cell].standing.setting, seeds, figures, missed))
    return found


def _bounds(expected: SweepExpectation) -> dict[str, Mapping[str, Bounds]]:
    return {**({BEST: expected.best} if expected.best else {}), **expected.values}


def _on(cell: Cell) -> str:
    return f" on {cell.problem}" if cell.problem else ""
