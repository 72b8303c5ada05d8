"""`show SWEEP` and `watch SWEEP`: status, swept parameters and leaderboard of a sweep."""

import json as json_module
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.text import Text

from optrun.analysis.leaderboard import (
    Standing,
    SweepPlan,
    best_of,
    by_problem,
    first_of_each,
    leaderboard,
    states_of,
)
from optrun.analysis.summaries import KILLED, RESUMABLE, Summary, confirmation_of, file_sizes, sweep_status
from optrun.analysis.untrained import untrained_by_problem
from optrun.cli.text.console import counted, emit, quoted, status_text, suggest, with_plugins
from optrun.cli.text.metrics import number
from optrun.cli.text.setting_table import labels_of, value_text
from optrun.cli.views.sweep_table import begun_text, print_standings
from optrun.errors import printable
from optrun.store import Status, Store
from optrun.store.event_names import BASELINES, INFERRED
from optrun.store.setting_columns import SettingColumns
from optrun.store.states import States
from optrun.training.baselines import known_baselines
from optrun.training.config_notes import inferred_lines
from optrun.training.identity import Identity, data_label, identity_of_store
from optrun.training.provenance import earlier_identities

DIGITS = 12
"""The number of digits of a SHA-256 to show."""

MOST_PATHS = 6
"""The most parameters that have a line each, where there are many more."""

MOST_VALUES = 6
"""The most values of a parameter to list; of more numbers, only the range is shown."""

MOST_BEST = 3
"""The most problems whose best value is on one line."""

FINAL = frozenset(str(status) for status in Status if status.final)


@dataclass(frozen=True)
class SweepView:
    """A sweep as of its last commit."""

    name: str
    status: str
    plan: SweepPlan
    states: States
    standings: Sequence[Standing]

    @property
    def ended(self) -> int:
        return int(self.states.ended.sum())

    @property
    def left(self) -> int:
        """The number of runs that have not ended, those included that the sweep method has yet to propose."""
        return max(self.plan.runs, len(self.states)) - self.ended

    @property
    def counts(self) -> Counter[str]:
        """The number of runs by status; if the sweep was killed, running ones count as killed."""
        gone = self.status == KILLED
        numbers = {status: self.states.count(status) for status in self.states.in_turn}
        return Counter(
            {
                KILLED if gone and status is Status.RUNNING else str(status): of
                for status, of in numbers.items()
            }
        )

    @property
    def failed(self) -> list[int]:
        found: list[int] = np.flatnonzero(self.states.are(Status.FAILED)).tolist()
        return found

    @property
    def problems(self) -> int:
        """The number of problems."""
        return len(by_problem(self.standings))


def view_of(store: Store, plan: SweepPlan) -> SweepView:
    """Read a sweep from its store."""
    states = states_of(store, plan)
    name = printable(str(store.run(0).config.get("name", store.path.name)))
    return SweepView(name, sweep_status(store, states, plan), plan, states, leaderboard(plan, states))


def print_sweep(store: Store, plan: SweepPlan, *, json: bool, limit: int | None = None) -> None:
    """Print the leaderboard of a sweep, at most ``limit`` settings of each problem.

    0 is all of them, which is the default for JSON.
    """
    view, identity = view_of(store, plan), identity_of_store(store)
    confirmation = None if view.left else confirmation_of(store)
    older = sorted(run for run in earlier_identities(store) if run < store.size)
    if json:
        document = {
            "sweep": str(store.path),
            "status": view.status,
            "runs": len(view.states),
            "ended": view.ended,
            "statuses": dict(view.counts),
            "method": plan.method,
            "metric": {"name": plan.metric, "goal": "maximize" if plan.maximize else "minimize"},
            "parameters": values_of(plan),
            "table": [standing.to_dict() for standing in first_of_each(view.standings, limit or 0)],
            "failed": [{"run": run, "reason": view.states[run].reason} for run in view.failed],
            "confirmation": confirmation.to_dict() if confirmation is not None else None,
            "environments": store.environments(),
            "inferred": inferred_lines(store.events(INFERRED)),
            "identity": {
                "data": {data_label(key): fingerprint for key, fingerprint in identity.data.items()},
                "code": {name: source._asdict() for name, source in identity.code.items()},
                "older": older,
            },
        }
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    emit(heading(view))
    emit(Text(printable(str(store.path)), "dim"))
    seeds = f"the median over {plan.repeats} seeds" if plan.repeats > 1 else "one seed"
    order = f"ranked by the {'highest' if plan.maximize else 'lowest'} {printable(plan.metric)}, {seeds}"
    order += f", within each of {view.problems} problems" * (view.problems > 1)
    emit(f"method {printable(plan.method)}, {order}" if plan.method else order)
    for line in over_lines(values_of(plan)):
        emit(f"over {printable(line)}")
    for line in inferred_lines(store.events(INFERRED)):
        emit(Text(printable(line)))
    data = {fingerprint: data_label(key) for key, fingerprint in identity.data.items()}
    lines = [f"data of {name}: {fingerprint[:DIGITS]}" for fingerprint, name in data.items()]
    more = [f"… and {len(lines) - MOST_VALUES:,} more"] if len(lines) > MOST_VALUES else []
    for line in [*lines[:MOST_VALUES], *more, *code_lines(identity)]:
        emit(Text(printable(line)))
    if older:
        runs = ", ".join(map(str, older[:MOST_VALUES])) + " …" * (len(older) > MOST_VALUES)
        one = f"show {quoted(store.path)}:{older[0]}"
        emit(f"{counted(len(older), 'run')} made with older data or code, as accepted: {runs} ({one})")
    if view.ended:
        untrained = untrained_by_problem(
            known_baselines(store.events(BASELINES)),
            view.standings,
            plan.metric,
            lambda run: store.run(run).config,
        )
        print_standings(view.standings, plan.metric, f"show {quoted(store.path)}", limit, untrained=untrained)
    print_reasons(view.states)
    if kept := len(store.kept()):
        emit(f"{counted(kept, 'run')} of earlier plans kept, in case a later plan contains them")
    if confirmation is not None:
        there = f": optrun show {quoted(confirmation.path)}" if confirmation.runs else ""
        emit(f"confirmation on fresh seeds: {confirmation_text(confirmation)}{there}")
    emit(Text("\nfiles", "bold"))
    for file, size in file_sizes(store.path).items():
        emit(Text(f"  {size:>11,} B  {printable(file)}"))
    path = quoted(store.path)
    if view.status == Status.RUNNING:
        suggest(f"watch {path}")
    elif view.status in RESUMABLE or (confirmation is not None and confirmation.status in RESUMABLE):
        suggest(f"resume {path}{with_plugins(plan.plugins)}")
    else:
        shown = view.failed[0] if view.failed else view.standings[0].first
        suggest(f"show {path}:{shown}", f"curves {path}", f"export {path} -o curves.csv")


def confirmation_text(confirmation: Summary) -> str:
    """Return how far the confirmation of a sweep is."""
    done = f"{confirmation.ended:,} of {counted(confirmation.runs, 'run')} ended"
    return f"{confirmation.status}, {done if confirmation.runs else 'not begun'}"


def code_lines(identity: Identity) -> list[str]:
    """Return a line for each plugin class: its file and the hash of its code."""
    return [f"{name}: {of.file} {of.sha256[:DIGITS]}" for name, of in sorted(identity.code.items())]


def heading(view: SweepView) -> Text:
    """Return the name and the status of a sweep, and the counts of its runs."""
    parts = [f"{count:,} {status}" for status, count in view.counts.most_common() if status in FINAL]
    if left := len(view.states) - view.ended:
        going = ", ".join(
            f"{count:,} {status}" for status, count in view.counts.items() if status not in FINAL
        )
        # After a kill, the statuses of unfinished runs are not reliable.
        parts.append(
            f"{left:,} left" + (f" ({going})" if view.status == Status.RUNNING else begun_text(view.states))
        )
    head = Text.assemble((view.name, "bold"), ": ") + status_text(view.status)
    return head + Text(f", {counted(len(view.states), 'run')}: {', '.join(parts)}")


def progress_text(view: SweepView) -> str:
    """Return the number of ended runs, the best setting so far, and the number of diverged and failed runs.

    Of several problems, it is the best value of each, as far as there is room.
    """
    parts = [f"{view.ended:,}/{counted(len(view.states), 'run')}"]
    best = best_of(view.standings)
    if best and view.problems > 1:
        values = [f"{number(each.median)} ({each.problem})" for each in best[:MOST_BEST]]
        more = [f"… {len(best) - MOST_BEST} more"] * (len(best) > MOST_BEST)
        parts.append(f"best {view.plan.metric} {', '.join([*values, *more])}")
    elif best:
        figure = number(best[0].median)
        labels = labels_of([best[0].setting], view.plan.settings)
        parts.append(f"best {view.plan.metric} {figure} {labels.text(best[0].setting)}".rstrip())
    counts = {status: view.states.count(status) for status in Status}
    parts += [f"{counts[bad]:,} {bad}" for bad in (Status.DIVERGED, Status.FAILED) if counts[bad]]
    return printable("  ".join(parts))


def print_reasons(states: States) -> None:
    """Print the reasons of failed runs, each once with its count."""
    reasons = Counter(states.reasons[states.are(Status.FAILED)].tolist())
    for reason, count in reasons.most_common(MOST_VALUES):
        emit(Text(f"{count:,} failed: {printable(reason)}", "red"))


def values_of(plan: SweepPlan) -> dict[str, list[Any]]:
    """Return the values of each swept parameter, in order of appearance."""
    if isinstance(plan.settings, SettingColumns):
        return {path: plan.settings.distinct(path) for path in plan.settings.paths}
    found: dict[str, dict[str, Any]] = {}
    for setting in plan.settings:
        for path, value in setting.items():
            found.setdefault(path, {}).setdefault(repr(value), value)
    return {path: list(values.values()) for path, values in found.items()}


def over_lines(values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return a line for each parameter with its values; of very many the last ones share a line."""
    shown = list(values)[: MOST_PATHS if len(values) > MOST_PATHS + 1 else None]
    rest = [path for path in values if path not in shown]
    lines = [f"{path}: {_range(values[path])}" for path in shown]
    return [*lines, f"{len(rest)} more: {', '.join(rest)}"] if rest else lines


def _range(values: Sequence[Any]) -> str:
    if len(values) <= MOST_VALUES:
        return ", ".join(map(value_text, values))
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) == len(values):
        return f"{len(values):,} values, {value_text(min(numbers))} … {value_text(max(numbers))}"
    return f"{', '.join(map(value_text, values[:MOST_VALUES]))}, … {len(values) - MOST_VALUES:,} more"
