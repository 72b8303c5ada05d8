"""The leaderboard of a sweep, and the reasons of failed runs."""

import json as json_module
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from optrun.analysis.leaderboard import Standing, any_reached, by_problem, settings_in, worst
from optrun.analysis.untrained import Untrained, untrained_in_words
from optrun.api.sweeps import Sweep
from optrun.cli.exits import reported
from optrun.cli.text.console import counted, emit, quoted, suggest
from optrun.cli.text.metrics import number
from optrun.cli.text.setting_table import Labels, labels_of, settings_table
from optrun.cli.text.tables import Column
from optrun.config import Issue
from optrun.config.same_problem import tells_problem
from optrun.errors import printable, printable_lines
from optrun.store import Status, Store
from optrun.store.states import States
from optrun.store.types import STEPS_TO_TARGET

MOST_SETTINGS = 20
"""The default number of settings to print, divided among the problems."""
LEAST_OF_PROBLEM = 3
"""The least default number of settings of each problem."""
MOST_PROBLEMS = 12
"""The default number of problems to print."""
MOST_REASONS = 5
CONFIRMATION = " of the confirmation"
"""Says in a message which runs are meant."""
LOSSES = ("final_loss", "train_loss")
"""Metrics that are close to the target in every run that ends at `stop.target`."""


def print_table(
    sweep: Sweep,
    misses: Sequence[Issue],
    again: Sequence[str],
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Print the leaderboard, failures and the next commands; ``again`` holds the arguments to repeat the sweep."""
    confirmed = sweep.confirmed
    sweeps = [sweep] if confirmed is None else [sweep, confirmed]
    if json:
        more = {
            "expect": [*map(str, misses)],
            "confirmed": _document(confirmed) if confirmed is not None else None,
        }
        print(json_module.dumps(_document(sweep) | more, ensure_ascii=False, allow_nan=False))
    elif quiet:
        if sweep.path:
            print(sweep.path)
    else:
        _print_tables(sweep)
        if sweep.path:
            emit(printable(str(sweep.path)))
        if not any(each.executed or each.left for each in sweeps) and not sweep.confirmation_left:
            ended = sum(len(each.states) for each in sweeps)
            print(f"nothing is left to run: {counted(ended, 'run')} ended before", file=sys.stderr)
    for each in sweeps:
        _print_failures(each, "" if each is sweep else CONFIRMATION, is_brief=json or quiet)
    for miss in misses[:MOST_REASONS]:
        print(printable(str(miss)), file=sys.stderr)
    if len(misses) > MOST_REASONS:
        print(f"… {len(misses):,} missed expectations in all", file=sys.stderr)
    if sweep.left or sweep.confirmation_left:
        left = sweep.left or sweep.confirmation_left
        states = sweep.states if sweep.left else confirmed.states if confirmed else States()
        ended = int(states.ended.sum())
        then = "continues" if sweep.path else "starts again, since nothing was stored"
        what = "" if sweep.left else CONFIRMATION
        why = "interrupted: " if sweep.signal else ""
        of = f"{ended:,} of {counted(ended + left, 'run')}{what} ended, {left:,} left"
        of += begun_text(states) if sweep.path else ""
        print(f"{why}{of}: the same command {then}", file=sys.stderr)
        suggest(" ".join(["sweep", *map(quoted, again)]))
    elif not (json or quiet) and sweep.path:
        path = quoted(sweep.path)
        failed = np.flatnonzero(sweep.states.are(Status.FAILED)).tolist()
        # The settings of the confirmation are ranked by fresh seeds, in the table above.
        ranked = (
            sweep.confirmed if sweep.confirmed is not None and sweep.confirmed.path and not failed else sweep
        )
        shown = failed[0] if failed else ranked.standings()[0].first
        suggest(
            f"show {quoted(ranked.path or sweep.path)}:{shown}",
            f"curves {path}",
            f"export {path} -o curves.csv",
        )


def begun_text(states: States) -> str:
    """Return how many of the runs that are left go on from a checkpoint, and from which step; empty if none does."""
    steps = states.steps[~states.ended & (states.steps > 0)]
    if not len(steps):
        return ""
    least, most = int(steps.min()), int(steps.max())
    where = f"step {least:,}" if least == most else f"steps {least:,} … {most:,}"
    return f", of which {len(steps):,} {'goes' if len(steps) == 1 else 'go'} on from {where}"


def _document(sweep: Sweep) -> dict[str, Any]:
    states = sweep.states
    return {
        "sweep": str(sweep.path) if sweep.path else None,
        "runs": len(states),
        "left": sweep.left,
        "statuses": {str(status): states.count(status) for status in states.in_turn},
        "metric": sweep.metric.model_dump(),
        "table": [standing.to_dict() for standing in sweep.standings()],
        "untrained": [{"problem": problem, **of} for problem, of in sweep.untrained.items()],
        "failed": [{"run": run, "reason": reason} for run, reason in _failed(states)],
    }


def _print_tables(sweep: Sweep) -> None:
    """Print the leaderboard of a sweep, and below it that of its confirmation."""
    confirmed, path = sweep.confirmed, sweep.path
    if sweep.states.ended.any():
        command = f"show {quoted(path)}" if path else None
        print_standings(sweep.standings(), sweep.metric.name, command, untrained=sweep.untrained)
    if confirmed is not None and confirmed.states.ended.any():
        repeats = len(confirmed.states) // len(confirmed.settings)
        command = f"show {quoted(confirmed.path)}" if confirmed.path else None
        where = f": optrun {command}" if command else ""
        emit(f"confirmed on {repeats} fresh seeds{where}")
        print_standings(confirmed.standings(), confirmed.metric.name, command, untrained=confirmed.untrained)


def _print_failures(sweep: Sweep, what: str, *, is_brief: bool) -> None:
    """Print the first runs that failed, and, unless it is to be brief, how many diverged."""
    failed = _failed(sweep.states)
    for run, reason in failed[:MOST_REASONS]:
        print(printable(f"run {run}{what} failed: {reason}"), file=sys.stderr)
        if reported.debug:
            _print_traceback(sweep, run)
    diverged = sweep.states.count(Status.DIVERGED)
    if diverged and not is_brief:
        print(f"{diverged:,} of {counted(len(sweep.states), 'run')}{what} diverged", file=sys.stderr)
    if len(failed) > MOST_REASONS:
        print(f"… {len(failed):,} failed in all", file=sys.stderr)


def _failed(states: States) -> list[tuple[int, str]]:
    """Return the runs that failed, each with the reason."""
    return [(run, states.reasons[run]) for run in np.flatnonzero(states.are(Status.FAILED)).tolist()]


def _print_traceback(sweep: Sweep, run: int) -> None:
    if sweep.path is None:
        return
    with Store.open(sweep.path) as store:
        print(printable_lines(store.traceback(run)), file=sys.stderr)


def leaderboard_parts(
    standings: Sequence[Standing],
    metric: str,
    most: int,
    untrained: Mapping[str | None, Untrained] | None = None,
) -> list[RenderableType]:
    """Return a table of the settings, the best first, at most ``most``; of several problems one below its label each.

    The tables of several problems leave out what tells the problem. Below each is what predicts without training.
    """
    blocks = by_problem(standings)
    lines = {problem: untrained_in_words(of) for problem, of in (untrained or {}).items()}
    below = {problem: [Text(printable(line), "dim")] for problem, line in lines.items() if line}
    if len(blocks) == 1:
        labels = labels_of([each.setting for each in standings[:most]], settings_in(standings))
        return [_leaderboard_table(standings, metric, most, labels), *below.get(next(iter(blocks)), [])]
    told = [path for path in {path for each in standings for path in each.setting} if tells_problem(path)]
    constant = {path for path in told if all(_is_constant(path, own) for own in blocks.values())}
    short = {
        problem: [
            replace(each, setting={path: each.setting[path] for path in each.setting if path not in constant})
            for each in own
        ]
        for problem, own in blocks.items()
    }
    labels = Labels([each.setting for own in short.values() for each in own])
    parts: list[RenderableType] = []
    for problem, own in short.items():
        parts += [Text()] * bool(parts)
        parts += [Text(printable(problem or ""), "bold"), _leaderboard_table(own, metric, most, labels)]
        parts += below.get(problem, [])
    return parts


def _is_constant(path: str, standings: Sequence[Standing]) -> bool:
    return len({repr(each.setting.get(path)) for each in standings}) == 1


def _leaderboard_table(standings: Sequence[Standing], metric: str, most: int, labels: Labels) -> Table:
    shown = standings[:most]
    after = [
        Column(
            metric,
            [_median_text(each, metric, number) for each in shown],
            right=True,
            short=[_median_text(each, metric, _short) for each in shown],
        )
    ]
    if any(each.runs > 1 for each in standings[:1]):
        after.append(
            Column("quartiles", [quartiles_text(each, metric, _short) for each in shown], spare=True)
        )
    after += _problem_columns(shown, metric)
    if metric != STEPS_TO_TARGET and any_reached(standings):
        steps = ["" if each.steps_to_target is None else f"{each.steps_to_target:,g}" for each in shown]
        after.append(Column("steps to target", steps, right=True))
    if any(each.pruned for each in shown):
        after.append(Column("pruned at", [f"step {each.pruned:,}" if each.pruned else "" for each in shown]))
    if any(each.waiting for each in shown):
        left = [f"{each.waiting} of {each.runs}" if each.waiting else "" for each in shown]
        after.append(Column("left", left))
    after.append(Column("run", [run_numbers(each.first, each.runs) for each in shown], right=True))
    places = Column("", [str(place) for place in range(1, len(shown) + 1)], right=True)
    return settings_table([places], labels, [each.setting for each in shown], after)


def print_standings(
    standings: Sequence[Standing],
    metric: str,
    command: str | None,
    most: int | None = None,
    *,
    untrained: Mapping[str | None, Untrained],
) -> None:
    """Print the settings, the best first, and the command that shows more.

    ``most`` is how many are printed of each problem; 0: all; by default `MOST_SETTINGS`, divided among the problems.
    """
    blocks = list(by_problem(standings).values())
    shown = blocks[:MOST_PROBLEMS] if most is None else blocks
    if most is None:
        most = MOST_SETTINGS if len(shown) == 1 else max(LEAST_OF_PROBLEM, MOST_SETTINGS // len(shown))
    most = most or len(standings)
    every = standings if len(shown) == len(blocks) else [each for own in shown for each in own]
    for part in leaderboard_parts(every, metric, most, untrained):
        emit(part)
    if left := len(standings) - sum(min(most, len(own)) for own in shown):
        those = "" if len(blocks) == 1 else " settings"
        rest = f", {len(blocks) - len(shown):,} more problems among them" * (len(shown) < len(blocks))
        how = f": optrun {printable(command)} --limit 0" if command else ""
        emit(Text(f"… {left:,} more{those}{rest}{how}", "dim"))
    if metric in LOSSES and any_reached(standings):
        how = f"by {printable(metric)}, not by the steps to the target"
        print(f"note: runs that end at stop.target are ranked {how}", file=sys.stderr)


def quartiles_text(of: Standing, metric: str, number: Callable[[float], str]) -> str:
    """Format the quartiles of a setting; a quartile None falls on diverged runs."""
    if of.median is None:
        return ""
    return " … ".join(worst(metric) if each is None else number(each) for each in (of.lower, of.upper))


def _median_text(of: Standing, metric: str, number: Callable[[float], str]) -> str:
    return number(of.median) if of.median is not None else worst(metric) if of.diverged else ""


def _short(value: float) -> str:
    return f"{value:.4g}"


def _problem_columns(shown: Sequence[Standing], metric: str) -> list[Column]:
    """Return a column that counts diverged, failed and metric-less runs per setting; no column if there are none."""
    word = worst(metric)
    counts = [{word: each.diverged, "failed": each.failed, "lacking": each.lacking} for each in shown]
    kinds = [kind for kind in (word, "failed", "lacking") if any(each[kind] for each in counts)]
    if len(kinds) == 1:
        (kind,) = kinds
        bad = [each[kind] for each in counts]
        return [
            Column(kind, [f"{n} of {each.runs}" if n else "" for n, each in zip(bad, shown, strict=True)])
        ]
    if not kinds:
        return []
    words = [", ".join(f"{count} {what}" for what, count in each.items() if count) for each in counts]
    cells = [f"{text} of {each.runs}" if text else "" for text, each in zip(words, shown, strict=True)]
    return [Column("no result", cells)]


def run_numbers(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}–{first + count - 1}"
