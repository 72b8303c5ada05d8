"""The CI report of a sweep: a case for the sweep, and one for each setting."""

from collections.abc import Iterable, Mapping, Sequence

from optrun.analysis.expectation import judged
from optrun.analysis.leaderboard import Standing, best_of, by_problem, first_of_each, worst
from optrun.api.comparisons import compared
from optrun.api.sweeps import Sweep
from optrun.cli.ci.case import Case
from optrun.cli.ci.report import Report
from optrun.cli.text.console import counted
from optrun.cli.text.metrics import number
from optrun.cli.text.setting_table import setting_text
from optrun.cli.views.sweep_table import quartiles_text
from optrun.config import Issue, Place, unmet
from optrun.sweeps.plan.expand import Plan
from optrun.training.curve_figures import expected_figures

MOST_MESSAGES = 10
MOST_ROWS = 20
"""The most settings in a job summary: so many of the best, and so many with a problem."""


def misses_of(sweep: Sweep, what: str = "") -> list[tuple[int, Issue]]:
    """Return the missed expectations with their runs; an issue has the position of the expectation in the config.

    ``what`` says of which runs they are, where that is not clear.
    """
    plan = sweep.plan
    assert plan is not None
    if not any(config.expect for config in plan.first_of_kinds()):
        return []

    def figures_of(run: int, names: Iterable[str]) -> Mapping[str, float | None]:
        return expected_figures(
            names, sweep.states[run], lambda: sweep.runs[run].evaluations, sweep.ranking.goal_of
        )

    return [
        (run, Issue.at(_place(plan, run, miss.path), miss.path[:2], f"{miss.reason} (run {run}{what})"))
        for run, (config, state) in enumerate(zip(sweep.configs, sweep.states, strict=True))
        if state.status.final and state.status != "pruned" and config.expect
        for miss in unmet(config.expect, figures_of(run, config.expect))
    ]


def _place(plan: Plan, run: int, path: tuple[str, ...]) -> Place:
    """Return the position of an expectation: among the swept values, or in the base config."""
    dotted = ".".join(path)
    for swept, node in plan.nodes[run // plan.repeats].items():
        if dotted == swept or dotted.startswith(f"{swept}."):
            return node.place
    return list(plan.swept.base.root.along(path))[-1].place


def judge(report: Report, sweep: Sweep) -> list[Issue]:
    """Return what a sweep that is through has missed as a whole; add a case for each best setting to the report.

    It comes before what single runs have missed, which may be more than is shown.
    """
    expected = sweep.plan.swept.expected if sweep.plan is not None else None
    if expected is None or sweep.left or sweep.confirmation_left:
        return []
    found = judged(expected, compared(sweep, "sweep"))
    for each in found:
        name = ": ".join(part for part in (each.key, each.cell.problem) if part)
        case = Case(name, "sweep expectation", "met")
        case.metrics = {name: number(value) for name, value in each.figures.items()} | {"n": str(each.seeds)}
        if each.setting:
            case.metrics["setting"] = setting_text(each.setting)
        if each.misses:
            case.problem, case.outcome = "failure", "expectation missed"
            case.messages = [str(issue) for issue in each.misses]
        report.cases.append(case)
        report.summary = [*(report.summary or ()), case]
    issues = [issue for each in found for issue in each.misses]
    report.issues = [*issues, *report.issues]
    return issues


def report_sweep(
    report: Report, whole: Case, sweep: Sweep, misses: Sequence[tuple[int, Issue]], what: str = ""
) -> None:
    """Add the outcome of a sweep and of its settings to the report; a diverged run is a result, not a problem."""
    if not report.is_wanted:
        return
    standings = sweep.standings()
    left = sweep.left
    diverged, failed = (sum(getattr(each, name) for each in standings) for name in ("diverged", "failed"))
    counts = {"diverged": diverged, "failed": failed, "left": left}
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    whole.outcome = ", ".join([counted(len(sweep.states), "run"), *parts])
    for each in best_of(standings):
        of_problem = f" on {each.problem}" if each.problem else ""
        whole.metrics[f"{sweep.metric.name}{of_problem}"] = number(each.median)
        whole.metrics[f"best{of_problem}"] = setting_text(each.setting) or "seeds"
    if left and sweep.signal is not None:
        whole.problem, whole.messages = "error", [f"interrupted: {counted(left, 'run')} left"]
    missed: dict[int, list[Issue]] = {}
    for run, issue in misses:
        missed.setdefault(run, []).append(issue)
    cases = {each.first: _case(sweep, each, missed, f"sweep setting{what}") for each in standings}
    report.cases += [cases[first] for first in sorted(cases)]
    share = max(1, MOST_ROWS // len(by_problem(standings)))
    best = [cases[each.first] for each in first_of_each(standings, share)]
    wrong = [case for case in cases.values() if case.problem in ("error", "failure")]
    report.summary = [
        *(report.summary or ()),
        whole,
        *best,
        *[case for case in wrong if case not in best][:MOST_ROWS],
    ]
    report.issues += [issue for _, issue in misses]
    report.issues += [
        Issue(f"run {run}{what}", None, None, "", f"failed: {state.reason}")
        for run, state in enumerate(sweep.states)
        if state.status == "failed"
    ]


def _case(sweep: Sweep, standing: Standing, missed: Mapping[int, Sequence[Issue]], group: str) -> Case:
    runs = range(standing.first, standing.first + standing.runs)
    case = Case(setting_text(standing.setting) or "all seeds", group, "completed")
    if standing.median is not None:
        case.metrics = {sweep.metric.name: number(standing.median)}
        if standing.runs > 1:
            case.metrics["quartiles"] = quartiles_text(standing, sweep.metric.name, number)
    if standing.diverged:
        word = worst(sweep.metric.name)
        case.outcome = f"{standing.diverged} of {standing.runs} {word}"
        case.metrics[word] = f"{standing.diverged} of {standing.runs}"
    messages = [
        f"run {run}: {sweep.states[run].reason}" for run in runs if sweep.states[run].status == "failed"
    ]
    if standing.failed:
        case.problem, case.outcome = "error", f"{standing.failed} of {standing.runs} failed"
    elif any(run in missed for run in runs):
        case.problem, case.outcome = "failure", "expectation missed"
    elif standing.waiting:
        case.problem, case.outcome = "skipped", f"{standing.waiting} of {standing.runs} left"
    messages += [str(issue) for run in runs for issue in missed.get(run, ())]
    case.messages = messages[:MOST_MESSAGES]
    if len(messages) > MOST_MESSAGES:
        case.messages.append(f"… {len(messages) - MOST_MESSAGES:,} more")
    return case
