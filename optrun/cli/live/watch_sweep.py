"""`watch SWEEP`: follow a sweep that another process executes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from optrun.analysis.leaderboard import plan_of
from optrun.analysis.summaries import KILLED, confirmation_of
from optrun.cli.live.watch_run import BAR, MOST_LINES, POLL_SECONDS, exiting_on_sigterm, follow
from optrun.cli.text.console import console, emit, span
from optrun.cli.views.sweep_overview import SweepView, heading, print_sweep, progress_text, view_of
from optrun.cli.views.sweep_table import leaderboard_parts
from optrun.errors import StoreError
from optrun.store import Status, Store
from optrun.sweeps.plan.expand import CONFIRM


def watch_sweep(path: Path) -> int:
    """Follow a sweep and its confirmation until they end, and print the sweep's table.

    Returns 1 if one of them was killed or a run of one failed, else 0.
    """
    with exiting_on_sigterm():
        views = [_followed(path)]
        if _is_confirming(path):
            views.append(_followed(path / CONFIRM))
    with Store.open(path) as store:
        print_sweep(store, views[0].plan, json=False)
    failed = any(view.states.count(Status.FAILED) for view in views)
    return int(failed or any(view.status == KILLED for view in views))


def _followed(path: Path) -> SweepView:
    """Follow a sweep until it ends; return it as it is then."""
    with _view(path) as show:
        for view in follow(path, read=read_sweep):
            show(view)
    return view


def _is_confirming(path: Path, wait: Callable[[float], None] = time.sleep) -> bool:
    """Whether another process executes the confirmation of a sweep that is through; wait until it has begun."""
    while True:
        with Store.open(path) as store:
            view = view_of(store, plan) if (plan := plan_of(store)) is not None else None
            if view is None or view.left or (found := confirmation_of(store)) is None:
                return False
        if found.runs or found.status != Status.RUNNING:
            return bool(found.runs) and found.status == Status.RUNNING
        wait(POLL_SECONDS)


def read_sweep(path: Path) -> SweepView:
    """Return a sweep as of its last commit; StoreError if the store holds a single run."""
    with Store.open(path) as store:
        if (plan := plan_of(store)) is None:
            raise StoreError(f"{path}: holds no sweep")
        return view_of(store, plan)


@contextmanager
def _view(path: Path) -> Iterator[Callable[[SweepView], None]]:
    out = console()
    if not out.is_terminal or out.is_dumb_terminal:
        yield _Lines()
        return
    changed = _SecondsSinceChange()
    with Live(console=out, screen=True, auto_refresh=False) as live:
        yield lambda view: live.update(frame(path, view, changed(view), out), refresh=True)


class _Lines:
    """Prints a line whenever runs have ended."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, view: SweepView) -> None:
        if view.ended != self._last and view.status == Status.RUNNING:
            self._last = view.ended
            emit(progress_text(view))


class _SecondsSinceChange:
    """Seconds since the number of ended runs last changed."""

    def __init__(self) -> None:
        self._last = -1
        self._time = datetime.now(UTC)

    def __call__(self, view: SweepView) -> float:
        now = datetime.now(UTC)
        if view.ended != self._last:
            self._last, self._time = view.ended, now
        return (now - self._time).total_seconds()


def frame(path: Path, view: SweepView, since: float, out: Console) -> Group:
    """Return the current frame; on a narrow terminal, lines are wrapped and fewer settings shown."""
    done = BAR * view.ended // len(view.states)
    above = [heading(view), Text(f"{'━' * done}{'─' * (BAR - done)} {progress_text(view)}"), Text()]
    below = [
        Text(),
        Text(f"{path}: no change for {span(since)}; Ctrl-C stops watching, not the sweep", "dim"),
    ]
    taken = sum(len(out.render_lines(line)) for line in (*above, *below))
    room = max(2, min(out.size.height, MOST_LINES) - taken - 1)
    return Group(*above, settings_that_fit(view, room, out), *below)


def settings_that_fit(view: SweepView, height: int, out: Console) -> Group:
    """Return tables of as many of the best settings as fit in ``height`` lines, headers and wrapped rows included.

    Of more problems than fit with one setting each, the first ones are shown.
    """
    most = height - 1
    while True:
        parts = leaderboard_parts(view.standings, view.plan.metric, most)
        found = Group(*parts)
        lines = len(out.render_lines(found, pad=False))
        if lines <= height:
            return found
        if most == 1:
            while len(parts) > 2 and len(out.render_lines(Group(*parts), pad=False)) > height:
                parts = parts[:-3]  # a blank line, the label of a problem, and its table
            return Group(*parts)
        most = max(1, min(most - 1, most * height // lines))
