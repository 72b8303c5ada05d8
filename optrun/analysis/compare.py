"""Sweeps compared: what is better, by how much, and whether it is real."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from optrun.analysis.at_defaults import at_defaults
from optrun.analysis.best_settings import ComparedSweep, Entry, Values, best_entries
from optrun.analysis.cautions import cautions
from optrun.analysis.comparison import Comparison, ProblemTable, Rank
from optrun.analysis.comparison_rows import corrected, problem_table
from optrun.analysis.figure_names import figures_in, lacking
from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.ranking import ranking
from optrun.analysis.rate_sensitivity import initial_loss, rate_sensitivity
from optrun.analysis.selection import BY, BY_SWEEP, Cell, paths_of, short_value, usual_by, value_at, varying
from optrun.analysis.sensitivity import is_number
from optrun.analysis.speedup import median_curve, speedup
from optrun.analysis.statistics import critical_difference
from optrun.analysis.unended import to_resume, waiting
from optrun.analysis.verdict import verdict
from optrun.config.goal import Goal, usual_goal
from optrun.config.same_problem import tells_problem
from optrun.config.seed_paths import REPEAT_SEEDS, is_of_seeds
from optrun.config.sweep.model import Metric
from optrun.errors import ConfigError, counted, did_you_mean, fold
from optrun.training.curve_figures import reported_name

USUAL_BASELINES = ("AdamW", "Adam", "SGD")
GRID, HALVING = "grid", "halving"
LEAST_PROBLEMS = 5
"""Over fewer, mean ranks say little."""


@dataclass(frozen=True)
class Evidence:
    """A comparison, and what it was made from."""

    comparison: Comparison
    sources: Sequence[ComparedSweep]
    entries: Mapping[Cell, Entry]
    """The selected setting of each value on each problem, with its runs."""


def comparison_of(
    sources: Sequence[ComparedSweep],
    by: str | None = None,
    baseline: str | None = None,
    metric: str | None = None,
) -> Comparison:
    """Compare the best settings of sweeps as `evidence_of` does, and return what was found."""
    return evidence_of(sources, by, baseline, metric).comparison


def evidence_of(
    sources: Sequence[ComparedSweep],
    by: str | None = None,
    baseline: str | None = None,
    metric: str | None = None,
) -> Evidence:
    """Compare the best settings of sweeps, on each problem and over problems.

    Settings are selected by the metrics of their sweeps. ``metric`` is what is reported, by default the same, or in
    place of a figure of the validation data that of the test data. ``by`` is a path of the config, several separated by
    commas, or ``sweep``; ``baseline`` one of its values. Raises ConfigError if metrics differ, if there is nothing to
    compare, if the values were drawn, or if a name is unknown.
    """
    if by == "":
        raise ConfigError(
            "what is to be compared? by is empty: give a path of the config, such as optimizer.name"
        )
    reported, sources = reported_metric(sources, metric)
    path, entries = entries_of(sources, by, reported)
    short = {name: short_value(name) for name in {cell.value for cell in entries}}
    if len(set(short.values())) == len(short) and path != BY_SWEEP:
        entries = {replace(cell, value=short[cell.value]): entry for cell, entry in entries.items()}
        baseline = baseline if baseline is None else short_value(baseline)
    for source in sources:
        if said := _drawn(path, source, [entry for entry in entries.values() if entry.source is source]):
            raise ConfigError(said)
    if not all(entry.results[1] for entry in entries.values()):
        # Seeds of a selection and fresh ones have nothing in common.
        entries = {cell: replace(entry, is_confirmed=False) for cell, entry in entries.items()}
    entries = {cell: entry for cell, entry in entries.items() if entry.costs}
    names = list(dict.fromkeys(cell.value for cell in entries))
    if len(names) < 2:
        only = f"{path or 'all'} is {names[0]} in all runs" if names else "none of the runs"
        left = sum(map(waiting, sources))
        rest = (
            f"; {counted(left, 'run')} left{to_resume([each for each in sources if waiting(each)])}"
            if left
            else ""
        )
        raise ConfigError(f"nothing to compare: {only} with a result{rest}")
    chosen = _baseline(names, baseline)
    of_problems = {
        problem: {cell.value: entry for cell, entry in entries.items() if cell.problem == problem}
        for problem in dict.fromkeys(cell.problem for cell in entries)
    }
    tables = [problem_table(problem, of, chosen) for problem, of in of_problems.items()]
    tables = [_with_tuning(table, of, chosen) for table, of in zip(tables, of_problems.values(), strict=True)]
    problems = corrected(tables, maximize=reported.goal == "maximize")
    if not any(len(of) > 1 for of in of_problems.values()):
        raise ConfigError(f"nothing to compare: no problem has two values of {path}")
    costs = [
        {value: _observations(each) for value, each in of.items() if each.pruned is None}
        for of in of_problems.values()
    ]
    ranks = [_with_sensitivity(rank, problems) for rank in ranking(costs, chosen)]
    enough = len(ranks) > 1 and len(problems) >= LEAST_PROBLEMS
    difference = critical_difference(len(ranks), len(problems)) if enough else None
    found = Comparison(reported.name, reported.goal, path, chosen, problems, ranks, difference)
    warnings = list(cautions(found, sources))
    found = replace(found, verdict=verdict(found, sources), warnings=warnings)
    return Evidence(found, sources, entries)


def _drawn(path: str, source: ComparedSweep, entries: Sequence[Entry]) -> str:
    """Return why the values of a path cannot be compared: numbers that were drawn, of one setting each; else nothing.

    Halving of a grid has such numbers too, where it has one parameter.
    """
    method, settings = source.plan.method, [entry.selected.standing.setting for entry in entries]
    parts = [part for part in paths_of(path) if any(is_number(setting.get(part)) for setting in settings)]
    others = [each for each in varying(source.plan) if each not in parts and not tells_problem(each)]
    is_grid = method in ("", GRID) or (method == HALVING and not others)
    if is_grid or not parts or len(entries) < 2 or any(len(entry.selected.tried) > 1 for entry in entries):
        return ""
    return (
        f"{path} was drawn: each of its {len(entries)} values has one setting, so that there is nothing to choose "
        "from and nothing repeats. `optrun plot SWEEP --kind sensitivity` draws the metric against a number; in a "
        "grid its values can be compared"
    )


def _with_tuning(table: ProblemTable, entries: Mapping[str, Entry], baseline: str) -> ProblemTable:
    """Return a table that tells what tuning brought, and how fast the tuned settings are."""
    initial = initial_loss(entries.values())
    of_baseline = median_curve(entries[baseline]) if baseline in entries else None
    rows = [
        replace(
            row,
            at_defaults=at_defaults(entry),
            lr_sensitivity=rate_sensitivity(entry, initial),
            speedup=None if row.value == baseline else speedup(entry, of_baseline),
        )
        for row in table.rows
        for entry in [entries[row.value]]
    ]
    return replace(table, rows=rows)


def _with_sensitivity(rank: Rank, problems: Sequence[ProblemTable]) -> Rank:
    found = [row.lr_sensitivity for table in problems for row in table.rows if row.value == rank.value]
    known = [each for each in found if each is not None]
    return replace(rank, lr_sensitivity=fmean(known) if len(known) == len(found) else None)


def _observations(entry: Entry) -> Values:
    """Return the costs by seed; where the seed changes nothing, that of one."""
    return dict(list(entry.costs.items())[:1]) if entry.is_one else entry.costs


def entries_of(
    sources: Sequence[ComparedSweep], by: str | None = None, reported: Metric | None = None
) -> tuple[str, dict[Cell, Entry]]:
    """Return what is compared and the best setting of each cell; the metric is by default that of the sweep.

    Raises ConfigError where the settings of a cell differ in seeds, or two sweeps have one cell.
    """
    path = _usual_by(sources) if by is None else by
    entries: dict[Cell, Entry] = {}
    of_sources = best_entries(sources, reported, "" if path == BY_SWEEP else path)
    for source, found in zip(sources, of_sources, strict=True):
        for own, entry in found.items():
            cell = replace(own, value=source.label) if path == BY_SWEEP else own
            if cell in entries:
                both = f"{entries[cell].source.label} and {source.label}"
                raise ConfigError(f"{both} both have {cell.value} on {cell.problem}: use --by sweep")
            entries[cell] = entry
            if differing := _differing_seeds(entry):
                raise ConfigError(
                    f"{source.label}: {' and '.join(differing)} was swept, so that the best setting would be that of "
                    f"the luckiest seed: {REPEAT_SEEDS}"
                )
    return path, entries


def _differing_seeds(entry: Entry) -> list[str]:
    """Return the paths of seeds in which the settings differ of which an entry is the best."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    for standing in entry.selected.standings:
        for path in filter(is_of_seeds, standing.setting):
            values[path].add(repr(standing.setting[path]))
    return [path for path, found in values.items() if len(found) > 1]


def reported_metric(
    sources: Sequence[ComparedSweep], name: str | None
) -> tuple[Metric, Sequence[ComparedSweep]]:
    """Return the metric to report, and the sweeps whose runs have it.

    Raises ConfigError if the sweeps have different metrics, or no run of one has it.
    """
    known = [_figures(source) for source in sources]
    plans = [source.plan for source in sources]
    goals = partial(_goal, plans)
    if name is None:
        for source in sources:
            if (source.plan.metric, source.plan.goal) != (plans[0].metric, plans[0].goal):
                raise ConfigError(
                    f"the metric of {sources[0].label} is {plans[0].metric}, that of {source.label} "
                    f"{source.plan.metric}: choose one by --metric"
                )
        name = reported_name(plans[0].metric)
        measured = [source.measured(name, goals) for source in sources]
        if not all(name in _figures(source) for source in measured):
            name, measured = plans[0].metric, list(sources)
        return Metric(name=name, goal=goals(name)), measured
    measured = [source.measured(name, goals) for source in sources]
    for source, names in zip(measured, known, strict=True):
        if names and name not in _figures(source):
            raise ConfigError(f"{source.label}: no run has the metric {name}.{lacking(name, names)}")
    return Metric(name=name, goal=goals(name)), measured


def ranked_anew(sources: Sequence[ComparedSweep], name: str) -> list[ComparedSweep]:
    """Return the sweeps with plans that rank by another metric; ConfigError if no run of one has it."""
    metric, measured = reported_metric(sources, name)
    maximize = metric.goal == "maximize"
    return [
        replace(each, plan=replace(each.plan, metric=metric.name, maximize=maximize)) for each in measured
    ]


def _goal(plans: Sequence[SweepPlan], name: str) -> Goal:
    """Return the goal that the first sweep gives a figure by its metric, or else the usual one."""
    usual = usual_goal(name)
    return next((goal for plan in plans if (goal := plan.goal_of(name)) != usual), usual)


def _figures(source: ComparedSweep) -> dict[str, None]:
    """Return the names of the figures of a sweep's runs."""
    has_target = any((config.get("stop") or {}).get("target") is not None for config in source.configs)
    return figures_in(source.runs, has_target=has_target)


def _usual_by(sources: Sequence[ComparedSweep]) -> str:
    configs = [config for source in sources for config in source.configs]
    if len(sources) == 1:
        return usual_by(sources[0].plan, configs)
    values = {value_at(config, BY) for config in configs}
    return BY if len(values) > 1 else BY_SWEEP


def _baseline(names: Sequence[str], baseline: str | None) -> str:
    if baseline is None:
        usual = (name for first in USUAL_BASELINES for name in names if name.split(", ")[0] == first)
        return next(usual, names[0])
    by_folded = {fold(name): name for name in names} | {fold(name).replace(" ", ""): name for name in names}
    if fold(baseline) not in by_folded:
        raise ConfigError(
            f"baseline {baseline!r}: it is not among {', '.join(names)}.{did_you_mean(baseline, names)}"
        )
    return by_folded[fold(baseline)]
