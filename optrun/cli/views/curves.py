"""`curves`: load runs and plot them in the terminal."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.text import Text

from optrun.analysis.best_run import find_numbered
from optrun.analysis.leaderboard import SweepPlan, is_sweep, plan_of, single, states_of
from optrun.analysis.run_difference import differing_labels
from optrun.analysis.setting_curves import (
    MOST_CURVES,
    Curves,
    best_settings,
    caption_of,
    missing_curve,
    setting_curves,
)
from optrun.arrays import Array
from optrun.cli.commands.configs import runs_many
from optrun.cli.located import located
from optrun.cli.text.console import (
    WIDTH,
    console,
    drawn,
    emit,
    quoted,
    suggest,
    suggest_picture,
    with_plugins,
)
from optrun.config import resolve
from optrun.config.sweep.resolve import load_sweep
from optrun.errors import ConfigError, printable
from optrun.plots.figure import evaluations_of
from optrun.plots.terminal import Series, drawing
from optrun.plots.ticks import prefers_log
from optrun.store import Status, Store
from optrun.sweeps.plan.expand import expand
from optrun.training.schedule_preview import scheduled

HEIGHT, LR_HEIGHT = 16, 8


def print_curves(
    runs: Sequence[str],
    metric: str,
    log: bool | None,
    width: int | None,
    height: int | None,
    problem: str | None = None,
    *,
    evaluations: bool,
) -> None:
    """Plot a metric of runs and, below it, their learning rates; ConfigError if a run lacks the metric.

    Of a sweep over several problems, the best settings of each are plotted by themselves.
    """
    for of_problem in [problem] if problem is not None or len(runs) > 1 else _problems(runs[0]):
        if of_problem is not None and problem is None:
            emit(Text(printable(of_problem), "bold"))
        _print_curves(runs, metric, log, width, height, of_problem, evaluations=evaluations)
    of_sweep = any(number is None and is_sweep(path) for path, number in map(find_numbered, runs))
    options = " -k curves" * of_sweep + (f" -m {quoted(metric)}" if metric != "loss" else "")
    options += "" if of_problem is None else f" --problem {quoted(of_problem)}"
    suggest_picture(f"plot {' '.join(map(quoted, runs))}{options} -o curves.png")


def _problems(text: str) -> list[str | None]:
    """Return the problems of a sweep; None where it has one, and for a single run."""
    path, run = find_numbered(text)
    if run is not None:
        return [None]
    with Store.open(path) as store:
        plan = plan_of(store)
    return list(dict.fromkeys(plan.problems)) if plan is not None and plan.problems else [None]


def _print_curves(
    runs: Sequence[str],
    metric: str,
    log: bool | None,
    width: int | None,
    height: int | None,
    problem: str | None,
    *,
    evaluations: bool,
) -> None:
    chosen = load_curves(runs, metric, problem=problem)
    series = [Series(run.label, *run.points(metric)) for run in chosen]
    if evaluations:
        series += [
            Series(f"{run.label}, {name}", run.evaluations["step"], run.evaluations[name])
            for run in chosen
            for name in evaluations_of(metric, run.evaluations)
        ]
    _print(series, metric, log, width, height or HEIGHT)
    if metric != "lr":
        rates_of = [Series(run.label, run.curves["step"], run.curves["lr"]) for run in chosen]
        _print(rates_of, "lr", log, width, min(height or LR_HEIGHT, LR_HEIGHT))
    if note := caption_of(chosen):
        emit(note)


def print_schedule(
    config: Path,
    overrides: Sequence[str],
    log: bool | None,
    width: int | None,
    height: int | None,
    *,
    plugins: Sequence[str] = (),
) -> None:
    """Plot the learning rate, and other scheduled hyperparameters, of all parameter groups of a config by step.

    For a sweep it plots the schedules of its first settings.
    """
    many = runs_many(config, overrides)
    tables, more = _of_settings(config, overrides) if many else ({"": _schedules(config, overrides)}, 0)
    groups: defaultdict[str, list[Series]] = defaultdict(list)
    joint = " and " if many else ", "
    for label, table in tables.items():
        for name, values in table.items():
            if name == "step":
                continue
            series = groups[name.partition(".")[0]]
            called = name if not label else label if "." not in name else f"{label}, {name}"
            same = next((i for i, each in enumerate(series) if each.y.tobytes() == values.tobytes()), None)
            if same is None:
                series.append(Series(called, table["step"], values))
            else:
                series[same] = replace(series[same], label=f"{series[same].label}{joint}{called}")
    for index, (name, series) in enumerate(groups.items()):
        _print(series, name, log, width, height or (LR_HEIGHT if index else HEIGHT))
    if more:
        emit(f"the first {MOST_CURVES} settings; {more:,} more are not drawn")
    given = " ".join([quoted(config), *map(quoted, overrides)]) + with_plugins(plugins)
    suggest(f"{'sweep' if many else 'run'} {given}")


def _schedules(config: Path, overrides: Sequence[str]) -> dict[str, Array]:
    resolved = resolve(config, overrides)
    with located(resolved):
        return scheduled(resolved.config)


def _of_settings(config: Path, overrides: Sequence[str]) -> tuple[dict[str, dict[str, Array]], int]:
    """Return the schedules of the first settings of a sweep by their labels, and the number of other settings."""
    plan = expand(load_sweep(config, overrides))
    labels = map(printable, differing_labels(plan.settings))
    tables = {}
    for index, label in zip(range(MOST_CURVES), labels, strict=False):
        with located(plan.swept.resolved(plan.nodes[index])):
            tables[label] = scheduled(plan.configs[index * plan.repeats])
    return tables, max(0, len(plan.settings) - MOST_CURVES)


def load_curves(
    runs: Sequence[str], metric: str, smooth: int = 1, problem: str | None = None
) -> list[Curves]:
    """Return the curves of runs, or of the best settings of sweeps, labelled by the values in which they differ.

    ``smooth`` rows each are replaced by their running mean; ``problem`` is that of the best settings.

    Raises StoreError for a missing or damaged run, ConfigError if one lacks the metric, or if a sweep has several
    problems and none is chosen.
    """
    found: list[Curves] = []
    configs: list[Mapping[str, Any]] = []
    names, endings = [], []
    for text in runs:
        path, run = find_numbered(text)
        with Store.open(path) as store:
            plan = plan_of(store) if run is None else None
            for members in _members(store, plan, run, problem):
                endings.append("" if plan is None else _diverged(store, plan, members[0]))
                names.append(path.name if run is None and store.size == 1 else f"{path.name}:{members[0]}")
                config = store.run(members[0]).config
                # Within one sweep, label by the swept values: whole configs also differ in the defaults of optimizers.
                of_plan = {"name": config.get("name", path.name), **plan.setting(members[0])} if plan else {}
                configs.append(of_plan if plan and len(runs) == 1 else config)
                state = store.run(members[0])
                if state.status is Status.FAILED and not store.curves(members[0]):
                    named = f"{path}:{members[0]}" if store.size > 1 else f"{path}"
                    raise ConfigError(f"{named}: no curves: it failed before its first row: {state.reason}")
                found.append(_checked(setting_curves(store, members, smooth), path, metric))
    labels = [printable(label) for label in differing_labels(configs)]
    if len(set(labels)) < len(labels):
        labels = [f"{label}, {printable(name)}" for label, name in zip(labels, names, strict=True)]
    labels = [f"{label}{ending}" for label, ending in zip(labels, endings, strict=True)]
    return [replace(run, label=label) for run, label in zip(found, labels, strict=True)]


def _diverged(store: Store, plan: SweepPlan, run: int) -> str:
    """Return how many runs of the setting diverged (their curves are left out) in words; empty if none or all did."""
    first = run - run % plan.repeats
    gone = sum(state.status is Status.DIVERGED for state in store.states()[first : first + plan.repeats])
    return f" ({gone} of {plan.repeats} diverged)" if 0 < gone < plan.repeats else ""


def _members(store: Store, plan: SweepPlan | None, run: int | None, problem: str | None) -> list[list[int]]:
    """Return the runs of a store to draw: the given one, or those of each of the best settings."""
    if plan is None:
        return [[single(store, run)]]
    chosen = best_settings(plan, states_of(store, plan), MOST_CURVES, problem)
    if not chosen:
        raise ConfigError(f"{store.path}: no curves yet: none of its runs has ended")
    return chosen


def _checked(run: Curves, path: Path, metric: str) -> Curves:
    if not run.curves or metric not in run.metrics:
        raise missing_curve(str(path), metric, run.metrics if run.curves else ())
    return run


def columns(width: int | None) -> int:
    """Return the width of a plot: the given one, or that of the terminal."""
    out = console()
    return width or (out.width if out.is_terminal else WIDTH)


def _print(series: list[Series], title: str, log: bool | None, width: int | None, height: int) -> None:
    heading = f"{title}  {series[0].label}" if len(series) == 1 and series[0].label != title else title
    log = prefers_log(title, [each.y for each in series]) if log is None else log
    emit(drawn(drawing(series, width=columns(width), height=height, log=log, title=heading)))
    emit(Text())
