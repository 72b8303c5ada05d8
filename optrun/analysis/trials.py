"""All settings that a comparison selected from, by problem."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optrun.analysis.compare import Evidence
from optrun.analysis.leaderboard import leaderboard
from optrun.analysis.problem_labels import common_labels
from optrun.analysis.selection import BY_SWEEP, cells_of, own_paths
from optrun.analysis.sensitivity import no_value
from optrun.config.same_problem import tells_problem


@dataclass(frozen=True)
class Trial:
    """A setting with the median of its sweep's metric."""

    value: str
    """What is compared, such as the name of its optimizer."""
    setting: Mapping[str, Any]
    """Its parameters, but for those that tell its problem, its seed, and what is compared."""
    median: float | None
    """None where it diverged or failed, or has no result."""
    ended: bool
    """Whether a run of it has ended."""
    without_value: Sequence[str] = ("diverged",)
    """Where the median is None: why its runs have no value, as keys of NO_VALUE."""


def trials_of(evidence: Evidence) -> dict[str, list[Trial]]:
    """Return the settings of each problem, the best first; none where the sweeps select by different metrics."""
    plans = [source.plan for source in evidence.sources]
    if len({(plan.metric, plan.maximize) for plan in plans}) > 1:
        return {}
    found: defaultdict[str, list[Trial]] = defaultdict(list)
    by = evidence.comparison.by
    left_out = own_paths(by)
    labels = common_labels([source.configs for source in evidence.sources])
    for source, problems in zip(evidence.sources, labels, strict=True):
        cells = cells_of(source.plan, source.runs, "" if by == BY_SWEEP else by, problems)
        for standing in leaderboard(source.plan, source.runs):
            cell = cells[standing.first // source.plan.repeats]
            setting = {
                path: value
                for path, value in standing.setting.items()
                if path not in left_out and not tells_problem(path)
            }
            value = source.label if by == BY_SWEEP else cell.value
            why = [each for each, count in no_value(standing).items() if count]
            found[cell.problem].append(
                Trial(value, setting, standing.median, standing.waiting < standing.runs, why)
            )
    sign = -1.0 if plans[0].maximize else 1.0
    return {
        problem: sorted(trials, key=lambda each: math.inf if each.median is None else sign * each.median)
        for problem, trials in found.items()
    }


def numeric_paths(trials: Sequence[Trial]) -> list[str]:
    """Return the paths whose values are numbers, of which there are two or more."""
    values: defaultdict[str, set[float]] = defaultdict(set)
    for trial in trials:
        for path in trial.setting:
            if (number := number_at(trial, path)) is not None:
                values[path].add(number)
    return [path for path, numbers in values.items() if len(numbers) > 1]


def number_at(trial: Trial, path: str) -> float | None:
    """Return the finite number at a path of a setting; None if there is none."""
    value = trial.setting.get(path)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        return None
    return float(value)
