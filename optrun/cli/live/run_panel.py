"""The live panel of a run: curves, metrics, and its stopping criteria."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, isnan, nan

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from optrun.arrays import Array
from optrun.cli.live.throughput import Throughput, clock
from optrun.cli.text.metrics import paired
from optrun.config import RunConfig
from optrun.errors import printable
from optrun.plots.terminal import Series, draw
from optrun.plots.ticks import spans_decades
from optrun.training.trainer import Progress

FIRST_SECONDS = 0.4
REDRAW_SECONDS = 0.25
SHARE = 0.01
"""The largest fraction of the run's time to spend on drawing."""

MOST_LINES = 34
SIDE_BY_SIDE = 100
"""The least terminal width for loss and lr side by side."""

POINTS = 4096
"""The most points kept of a curve; no terminal shows more."""

BEGIN_UPDATE, END_UPDATE = "\x1b[?2026h", "\x1b[?2026l"


@contextmanager
def panel(
    config: RunConfig, console: Console, history: Mapping[str, Array] | None = None
) -> Iterator[Callable[[Progress], None]]:
    """Yield the function that redraws the panel; the panel is removed at the end.

    ``history`` holds the stored curves of a resumed run.
    """
    view = View(config)
    if history:
        view.add(history)
    throughput = Throughput()
    due = time.monotonic() + FIRST_SECONDS
    # Redirect what plugins print to above the panel, unless stdout is a pipe.
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty())

    def observe(now: Progress) -> None:
        nonlocal due
        throughput.update(now.step)
        view.add(now.rows())
        began = time.monotonic()
        if began < due:
            return
        if not live.is_started:
            live.start()
            # Keep the cursor visible, so that it need not be restored after a kill.
            console.show_cursor(True)
        # Synchronised output: terminals that support it draw the whole frame at once, others ignore the codes.
        console.file.write(BEGIN_UPDATE)
        live.update(frame(view, now, throughput.rate, *console.size), refresh=True)
        console.file.write(END_UPDATE)
        console.file.flush()
        ended = time.monotonic()
        due = ended + max(REDRAW_SECONDS, (ended - began) / SHARE)

    try:
        yield observe
    finally:
        if live.is_started:
            live.stop()


class Curve:
    """A curve downsampled to at most POINTS bins of equal width, with the minimum and the maximum of each bin."""

    def __init__(self) -> None:
        self.step: Array = np.empty(0, np.int64)
        self.low: Array = np.empty(0)
        self.high: Array = np.empty(0)
        self._bin = 1

    def extend(self, step: Array, values: Array) -> None:
        """Append values at later steps, ``[n]`` each."""
        new = self._merged(step, values, values)
        self._set([np.concatenate(pair) for pair in zip((self.step, self.low, self.high), new, strict=True)])
        while len(self.step) > POINTS:
            self._bin *= 2
            self._set(self._merged(self.step, self.low, self.high))

    def _set(self, columns: Sequence[Array]) -> None:
        self.step, self.low, self.high = columns

    def _merged(self, step: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
        if not step.size:
            return step, low, high
        starts = np.flatnonzero(np.diff(step // self._bin, prepend=-1))
        return step[starts], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)

    def drawn(self, title: str, horizon: int, width: int, height: int) -> list[str]:
        """Return the plot as lines of text; the axis of steps ends at ``horizon``."""
        step = np.append(np.repeat(self.step, 2), horizon)
        values = np.append(np.stack([self.low, self.high], axis=1), np.nan)
        lines = draw([Series(title, step, values)], width=width, height=height, log=self._log(), title=title)
        return [f"{line:<{width}}" for line in lines]

    def _log(self) -> bool:
        """Whether the y axis is logarithmic; up to 10 % of the values may be 0 or not finite."""
        positive = self.low[(self.low > 0) & (self.low < inf)]
        if not positive.size or positive.size < 0.9 * self.low.size:
            return False
        return spans_decades(float(positive.min()), float(self.high[self.high < inf].max()))


@dataclass
class View:
    """The data that the panel shows: config, curves, best loss."""

    config: RunConfig
    loss: Curve = field(default_factory=Curve)
    lr: Curve = field(default_factory=Curve)
    best: tuple[float, int] = (inf, 0)
    """The lowest loss and its step."""

    next_step: int = 0

    def add(self, rows: Mapping[str, Array]) -> None:
        """Add the rows from `next_step` on; earlier rows are known already."""
        new = slice(int(np.searchsorted(rows["step"], self.next_step)), None)
        step, loss = rows["step"][new], rows["loss"][new]
        self.loss.extend(step, loss)
        self.lr.extend(step, rows["lr"][new])
        if step.size:
            self.next_step = int(step[-1]) + 1
        if np.isfinite(loss).any():
            least = int(np.nanargmin(loss))
            self.best = min(self.best, (float(loss[least]), int(step[least])))


def frame(view: View, now: Progress, rate: float | None, width: int, height: int) -> Group:
    """Return the panel for the current progress; its last line is empty, for the cursor."""
    above = [_heading(view.config, now), _bar(now, rate, width), _metrics_line(view, now)]
    below = [line for line in (_evaluation(now), _endings(view, now)) if line.plain]
    room = min(height, MOST_LINES) - len(above) - len(below) - 4
    lines = [*above, Text(), *_plots(view, now, width, room), Text(), *below]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Group(*lines[: height - 2], Text())


def _heading(config: RunConfig, now: Progress) -> Text:
    parts = [
        part.name for part in (config.problem, config.optimizer, config.scheduler, config.average) if part
    ]
    return Text.assemble((printable(config.name), "bold"), ("  ·  ".join(["", *parts]), "dim"))


def _bar(now: Progress, rate: float | None, width: int) -> Text:
    share = now.step / now.steps
    pace = "" if rate is None else f"  {rate:,.0f} steps/s"
    left = "" if not rate else f"  {clock((now.steps - now.step) / rate)} left"
    words = f" {share:4.0%}  step {now.step:,} of {now.steps:,}{pace}{left}"
    length = max(width - len(words), 8)
    done = round(share * length)
    return Text.assemble(("━" * done, "cyan"), ("─" * (length - done), "dim"), words)


def _metrics_line(view: View, now: Progress) -> Text:
    best, at = view.best
    return Text.assemble(
        *_metric("loss", f"{now.loss:<10.4g}"),
        *_metric("best", f"{best:.4g} at step {at:,}  " if best < inf else "none yet  "),
        *_metric("lr", f"{now.lr:<10.4g}"),
        *_metric("time", clock(now.seconds)),
    )


def _evaluation(now: Progress) -> Text:
    if now.evaluation is None:
        return Text()
    step, metrics = now.evaluation
    pairs = dict(paired(metrics))
    # With several metrics, the objective `loss` is repeated under the name of its data, e.g. train_loss.
    shown = [name for name in pairs if name != "loss" or len(pairs) == 1]
    # Test metrics first: what does not fit is cut off at the end.
    names = sorted(shown, key=lambda name: not name.startswith("test"))
    parts: list[tuple[str, str]] = []
    for name in names:
        average = metrics.get(pairs[name] or "", nan)
        parts += _metric(name, f"{metrics[name]:.4g} " if isnan(average) else f"{metrics[name]:.4g}")
        parts += [] if isnan(average) else _metric("average", f"{average:.4g} ")
    return Text.assemble((f"evaluated at {step:,}:  ", "dim"), *parts)


def _endings(view: View, now: Progress) -> Text:
    """Return the early stopping criteria, and how close each is to its limit."""
    stop = view.config.stop
    ends = []
    if stop.target is not None:
        ends.append(f"target {stop.target:g}" + (f" of {stop.metric}" if stop.metric else ""))
    if stop.patience is not None and stop.metric is not None:
        ends.append(f"patience {stop.patience:,} with {stop.metric}")
    elif stop.patience is not None:
        ends.append(f"patience {now.step - view.best[1]:,} of {stop.patience:,}")
    if stop.time is not None:
        ends.append(f"time {clock(now.seconds)} of {clock(stop.time.seconds)}")
    if isinstance(stop.divergence, float):
        ends.append(f"divergence {stop.divergence:g}")
    return Text.assemble(("ends early at  ", "dim"), " · ".join(ends)) if ends else Text()


def _metric(name: str, value: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (f"{name} ", "dim"), (f"{value} ", "bold")


def _plots(view: View, now: Progress, width: int, height: int) -> list[Text]:
    horizon = _horizon(now)
    if view.config.scheduler is None or (width < SIDE_BY_SIDE and height < 13):
        return [Text(line, "cyan") for line in view.loss.drawn("loss", horizon, width, height)]
    if width < SIDE_BY_SIDE:
        small = height * 2 // 5
        loss = view.loss.drawn("loss", horizon, width, height - small)
        lr = view.lr.drawn("lr", horizon, width, small)
        return [*(Text(line, "cyan") for line in loss), *(Text(line, "magenta") for line in lr)]
    loss = view.loss.drawn("loss", horizon, width * 3 // 5, height)
    lr = view.lr.drawn("lr", horizon, width - width * 3 // 5 - 2, height)
    return [
        Text.assemble((left, "cyan"), "  ", (right, "magenta")) for left, right in zip(loss, lr, strict=True)
    ]


def _horizon(now: Progress) -> int:
    """Return the end of the axis of steps; it doubles when reached, so that curves do not shrink at every redraw."""
    horizon = now.steps
    while horizon >= 2 * max(now.step, 1):
        horizon //= 2
    return max(horizon, now.step + 1)
