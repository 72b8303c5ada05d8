"""The best setting of a sweep for every problem and every value of what is compared, such as each optimizer."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optrun.analysis.composition import list_text, part_text
from optrun.analysis.leaderboard import Standing, SweepPlan, leaderboard
from optrun.analysis.problem_labels import problem_labels
from optrun.config.paths import steps_of
from optrun.config.same_problem import tells_problem
from optrun.errors import ConfigError, StoreError, did_you_mean
from optrun.store import RunRecord

BY = "optimizer.name"
PARTS = (BY, "scheduler.name")
"""What is compared if nothing is said and it varies, the first one first."""

COMPOSED = "optimizer"
"""What is compared instead where optimizers of one name differ in their transforms, wrappers or groups."""

BY_SWEEP = "sweep"
"""What `by` is where the sweeps themselves are compared."""

SEED = "seed"
NONE = "null"
"""The value of a part that is turned off, such as a scheduler that is null."""

EDGE = 0.05
"""A value is at the edge of its space if it is among this part of the values that were tried, or the outermost one."""


@dataclass(frozen=True)
class Cell:
    """A problem, and a value of what is compared."""

    problem: str
    value: str


@dataclass(frozen=True)
class Selected:
    """The best setting of a cell by the median of the metric over its seeds, and what it was chosen from."""

    cell: Cell
    index: int
    """The index of the setting in the plan."""
    standing: Standing
    standings: Sequence[Standing]
    """The settings that were compared, the best first."""
    indices: Sequence[int]
    """Their indices in the plan."""
    edge: tuple[str, ...]
    """The numeric parameters whose value is at an edge of the values that were tried."""

    @property
    def tried(self) -> list[float | None]:
        """The median of each setting that was compared; None where it diverged."""
        return [each.median for each in self.standings]


def selections(
    plan: SweepPlan,
    runs: Sequence[RunRecord],
    by: str | None = None,
    top: int = 1,
    problems: Sequence[str] | None = None,
) -> list[Selected]:
    """Return the ``top`` best settings of each cell, in the order of the plan; a setting without results is none.

    ``by`` is a path of the config, or several separated by commas; by default what varies: the optimizer, or else the
    scheduler, or else the only parameter. An empty one is the same for all settings. ``problems`` are the labels of the
    settings' problems, by default those that tell the problems of this sweep apart. Raises ConfigError if no run has
    ``by``, or if nothing tells what is compared.
    """
    cells = cells_of(plan, runs, by, problems)
    members: defaultdict[Cell, list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        members[cell].append(index)
    found = []
    for cell, indices in members.items():
        own = SweepPlan([plan.settings[index] for index in indices], plan.repeats, plan.metric, plan.maximize)
        states = [run for index in indices for run in of_setting(plan, runs, index)]
        places = {place * plan.repeats: index for place, index in enumerate(indices)}
        standings = [each for each in leaderboard(own, states) if _is_result(each)]
        standings.sort(key=lambda each: each.waiting > 0)  # a setting whose seeds have all ended goes first
        of_plan = [places[each.first] for each in standings]
        for standing in standings[:top]:
            edge = () if standing.median is None else tuple(_at_edge(standing.setting, own.settings))
            found.append(Selected(cell, places[standing.first], standing, standings, of_plan, edge))
    return found


def of_setting(plan: SweepPlan, runs: Sequence[RunRecord], index: int) -> Sequence[RunRecord]:
    """Return the runs of a setting, one for each seed."""
    return runs[index * plan.repeats : (index + 1) * plan.repeats]


def edge_in(plan: SweepPlan, runs: Sequence[RunRecord], index: int, by: str | None) -> tuple[str, ...]:
    """Return the numeric parameters of a setting whose value is at an edge of those that its cell tried."""
    cells = cells_of(plan, runs, by)
    own = [setting for setting, cell in zip(plan.settings, cells, strict=True) if cell == cells[index]]
    return tuple(_at_edge(plan.settings[index], own))


def cells_of(
    plan: SweepPlan,
    runs: Sequence[RunRecord],
    by: str | None = None,
    problems: Sequence[str] | None = None,
) -> list[Cell]:
    """Return the cell of each setting; raises as `selections` does."""
    if len(runs) != len(plan.settings) * plan.repeats:
        raise StoreError(f"the plan has {len(plan.settings) * plan.repeats} runs, the sweep {len(runs)}")
    configs = [runs[index * plan.repeats].config for index in range(len(plan.settings))]
    labels = problem_labels(configs) if problems is None else problems
    path = usual_by(plan, configs) if by is None else by
    values = [
        value_at(config, path, setting) if path else ""
        for config, setting in zip(configs, plan.settings, strict=True)
    ]
    for each in paths_of(by) if by else []:
        if all(
            value_at(config, each) is None and each not in setting
            for config, setting in zip(configs, plan.settings, strict=True)
        ):
            raise ConfigError(_unknown(each, varying(plan)))
    return [
        Cell(problem, NONE if value is None else value) for problem, value in zip(labels, values, strict=True)
    ]


def paths_of(by: str) -> list[str]:
    """Return the paths whose values are compared, which commas separate."""
    return [path.strip() for path in by.split(",")]


def short_name(path: str) -> str:
    """Return the last part of a path that says something: `optimizer` of `optimizer.name`, `lr` of `optimizer.lr`."""
    return path.removesuffix(".name").rpartition(".")[2]


def title_of(by: str) -> str:
    """Return the heading of what is compared."""
    return ", ".join(map(short_name, paths_of(by)))


def own_paths(by: str) -> set[str]:
    """Return the paths of a setting that a table needs no columns for: that of the seed, and of what is compared."""
    parts = {path.removesuffix(".name") for path in paths_of(by)}
    return {SEED, *paths_of(by), *parts, *(f"{part}.name" for part in parts)}


def _unknown(path: str, varying: Sequence[str]) -> str:
    """Return the message for a path that no run has, and which one may be meant."""
    ending = [each for each in varying if each.endswith(f".{path}") or each == f"{path}.name"]
    hint = f" Did you mean {ending[0]!r}?" if len(ending) == 1 else did_you_mean(path, varying)
    return f"{path or repr(path)}: no run of the sweep has it; what varies is {', '.join(varying)}{hint and '.'}{hint}"


def usual_by(plan: SweepPlan, configs: Sequence[Mapping[str, Any]]) -> str:
    """Return what is compared if nothing is said; ConfigError if that is not clear."""
    if part := varying_part(configs):
        return part
    paths = [path for path in varying(plan) if not tells_problem(path)]
    if len(paths) == 1:
        return paths[0]
    raise ConfigError(f"what is to be compared? Give one of these by --by: {', '.join(paths) or BY}")


def varying_part(configs: Sequence[Mapping[str, Any]]) -> str:
    """Return the path of the optimizer if it varies, of its name if that tells all, or else of the scheduler's name.

    It is empty if neither varies.
    """
    count = {path: len({value_at(config, path) for config in configs}) for path in (COMPOSED, *PARTS)}
    if count[COMPOSED] > count[BY]:
        return COMPOSED
    return next((path for path in PARTS if count[path] > 1), "")


def varying(plan: SweepPlan) -> list[str]:
    """Return the paths that vary between the settings of a plan, but for the seed."""
    return [path for path in dict.fromkeys(path for each in plan.settings for path in each) if path != SEED]


def value_at(config: Mapping[str, Any], path: str, setting: Mapping[str, Any] | None = None) -> str | None:
    """Return the value at a path of a config as text, of a part its names; None if it is not there or null.

    The values at several paths, which commas separate, are one text. A value that a config leaves out since it is the
    default is that of its setting in a sweep, which is given by path.
    """
    if "," in path:
        values = [value_at(config, each, setting) for each in paths_of(path)]
        texts = [NONE if value is None else value for value in values]
        return None if values == [None] * len(values) else ", ".join(texts)
    value: Any = config
    steps = steps_of(path)
    for key in steps:
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    if value is None and setting is not None:
        value = setting.get(path)
    if isinstance(value, Mapping):
        value = part_text(value)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = list_text(value, steps[-1])
    return None if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def short_value(value: str) -> str:
    """Return a value of what is compared as tables have it: a number to six digits."""
    return ", ".join(map(_short, value.split(", ")))


def _short(part: str) -> str:
    try:
        shorter = f"{float(part):.6g}" if "." in part else part
    except ValueError:
        return part
    return shorter if len(shorter) < len(part) else part


def _is_result(standing: Standing) -> bool:
    return standing.runs > standing.waiting + standing.failed + standing.lacking


def _at_edge(setting: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the numeric parameters of a setting that are at an edge of at least three values that were tried.

    A lowest value of 0 is no edge: below it there is mostly nothing.
    """
    for path in setting:
        value = _number(setting[path])
        if path == SEED or value is None:
            continue
        tried = sorted({other for each in settings if (other := _number(each.get(path))) is not None})
        outer = max(1, math.floor(EDGE * len(tried)))
        if len(tried) >= 3 and (value >= tried[-outer] or (value <= tried[outer - 1] and value != 0)):
            yield path


def _number(value: Any) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value
