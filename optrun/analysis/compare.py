"""Sweeps compared: what is better, by how much, and whether it is real."""

from collections.abc import Sequence
from dataclasses import replace

from optrun.analysis.best_settings import ComparedSweep, Entry, corrected, problem_table
from optrun.analysis.comparison import Comparison
from optrun.analysis.ranking import ranking
from optrun.analysis.selection import BY, Cell, selections, usual_by, value_at
from optrun.analysis.verdict import cautions, verdict
from optrun.config.sweep.model import usual_goal
from optrun.errors import ConfigError, did_you_mean, fold

USUAL_BASELINES = ("AdamW", "Adam", "SGD")
BY_SWEEP = "sweep"
"""What `by` is where the sweeps themselves are compared."""


def comparison_of(
    sources: Sequence[ComparedSweep],
    by: str | None = None,
    baseline: str | None = None,
    metric: str | None = None,
) -> Comparison:
    """Compare the best settings of sweeps, on each problem and over problems.

    ``by`` is a path of the config, or ``sweep``; ``baseline`` one of its values. Raises ConfigError if metrics or goals
    differ, if there is nothing to compare, or if a name is unknown.
    """
    sources = [_with_metric(source, metric) for source in sources]
    first = sources[0].plan
    for source in sources:
        if (source.plan.metric, source.plan.maximize) != (first.metric, first.maximize):
            raise ConfigError(
                f"the metric of {sources[0].label} is {first.metric}, that of {source.label} "
                f"{source.plan.metric}: choose one by --metric"
            )
    path = _usual_by(sources) if by is None else by
    entries: dict[Cell, Entry] = {}
    for source in sources:
        for selected in selections(source.plan, source.runs, "" if path == BY_SWEEP else path):
            cell = replace(selected.cell, value=source.label) if path == BY_SWEEP else selected.cell
            if cell in entries:
                both = f"{entries[cell].source.label} and {source.label}"
                raise ConfigError(f"{both} both have {cell.value} on {cell.problem}: use --by sweep")
            entries[cell] = Entry(selected, source)
    names = list(dict.fromkeys(cell.value for cell in entries))
    if len(names) < 2:
        raise ConfigError(
            f"nothing to compare: {path} is {names[0]} throughout" if names else "no run has a result"
        )
    chosen = _baseline(names, baseline)
    of_problems = {
        problem: {cell.value: entry for cell, entry in entries.items() if cell.problem == problem}
        for problem in dict.fromkeys(cell.problem for cell in entries)
    }
    problems = corrected([problem_table(problem, of, chosen) for problem, of in of_problems.items()])
    ranks = ranking(
        [{value: each.costs for value, each in of.items()} for of in of_problems.values()], chosen
    )
    found = Comparison(first.metric, first.goal, path, chosen, problems, list(ranks))
    warnings = list(cautions(found, sources))
    return replace(found, verdict=verdict(found), warnings=warnings)


def _with_metric(source: ComparedSweep, metric: str | None) -> ComparedSweep:
    plan = (
        source.plan
        if metric is None
        else replace(source.plan, metric=metric, maximize=usual_goal(metric) == "maximize")
    )
    known = {name for run in source.runs for name in run.summary}
    if known and plan.metric not in known:
        others = did_you_mean(plan.metric, known) or f" There are: {', '.join(sorted(known))}"
        raise ConfigError(f"{source.label}: no run has the metric {plan.metric}.{others}")
    return replace(source, plan=plan)


def _usual_by(sources: Sequence[ComparedSweep]) -> str:
    configs = [run.config for source in sources for run in source.runs[:: source.plan.repeats]]
    if len(sources) == 1:
        return usual_by(sources[0].plan, configs)
    values = {value_at(config, BY) for config in configs}
    return BY if len(values) > 1 else BY_SWEEP


def _baseline(names: Sequence[str], baseline: str | None) -> str:
    if baseline is None:
        return next(name for name in (*USUAL_BASELINES, *names) if name in names)
    by_folded = {fold(name): name for name in names}
    if fold(baseline) not in by_folded:
        raise ConfigError(
            f"baseline {baseline!r}: it is not among {', '.join(names)}.{did_you_mean(baseline, names)}"
        )
    return by_folded[fold(baseline)]
