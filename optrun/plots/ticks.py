"""Axes of pictures made of text: ranges, round ticks, and their labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array

DECADES_FOR_LOG = 2.0


@dataclass(frozen=True)
class PlotAxis:
    """A range of values.

    On a `log` axis equal ratios, not equal differences, are equally far apart; ticks of a `whole` one are integers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def place(self, values: Array) -> Array:
        """Return where values lie: 0 at the low end, 1 at the high one."""
        low, high = self._scaled(np.array([self.low, self.high])) / 2
        return np.asarray((self._scaled(values) / 2 - low) / (high - low))

    def ticks(self, most: int) -> list[float]:
        """Return round values within the range, at most about so many."""
        if not self.log:
            return _round_values(self.low, self.high, most, least_step=1.0 if self.whole else 0.0)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last <= first:
            return _round_values(self.low, self.high, most)
        every = math.ceil((last - first + 1) / most)
        return [10.0**power for power in range(first, last + 1, every)]

    def _scaled(self, values: Array) -> Array:
        return np.asarray(np.log10(values) if self.log else values)


def axis_of(low: float, high: float, log: bool) -> PlotAxis:
    """Return the axis of a range, widened where its ends coincide."""
    if log:
        return PlotAxis(low, high, True) if high > low * (1 + 1e-9) else PlotAxis(low / 2, high * 2, True)
    if high / 2 - low / 2 > 1e-12 * max(abs(low), abs(high)):
        return PlotAxis(low, high)
    margin = abs(low) / 2 or 1.0
    return PlotAxis(low - margin, high + margin)


def helps(low: float, high: float) -> bool:
    """Whether a log axis shows more: values are positive and span more than two decades."""
    return low > 0 and math.log10(high) - math.log10(low) > DECADES_FOR_LOG


def log_suits(metric: str, curves: Sequence[Array]) -> bool:
    """Whether curves of a metric are better seen on a log axis; rates have a rule of their own."""
    if metric.partition(".")[0] == "lr":
        return rates_help(np.concatenate(curves))
    return log_shows_more(curves)


def log_shows_more(curves: Sequence[Array]) -> bool:
    """Whether curves are better seen on a log axis: most values are positive, none is negative, two decades.

    A few zeros, to which a loss in float32 may fall, are gaps there.
    """
    known = np.concatenate([np.zeros(0), *(values[np.isfinite(values)] for values in curves)])
    positive = known[known > 0]
    if 2 * positive.size <= known.size or known.min() < 0:
        return False
    return helps(float(positive.min()), float(positive.max()))


def rates_help(rates: Array) -> bool:
    """Whether a log axis shows more of learning rates: the middle four fifths of them span two decades.

    A rate that comes near zero in its last steps alone is better seen as it is.
    """
    known = rates[np.isfinite(rates)]
    return known.size > 0 and helps(*np.quantile(known, (0.1, 0.9), method="nearest").tolist())


def labels(ticks: Sequence[float]) -> list[str]:
    """Return ticks as short texts, with as many digits as tell them apart."""
    texts: list[str] = []
    for digits in range(1, 18):
        texts = [_short(format(tick, f".{digits}g")) for tick in ticks]
        exact = all(
            math.isclose(float(text), tick, rel_tol=1e-9) for text, tick in zip(texts, ticks, strict=True)
        )
        if exact and len(set(texts)) == len(texts):
            break
    return texts


def _round_values(low: float, high: float, most: int, least_step: float = 0.0) -> list[float]:
    rough = max(high / most - low / most, least_step)
    power = math.floor(math.log10(rough))
    step = next((m * 10.0**power for m in (1, 2, 5, 10) if m * 10.0**power >= rough), rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _short(text: str) -> str:
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    number = int(exponent)
    if 0 <= number < 5:
        return f"{float(text):.0f}"
    return f"{mantissa}e{number}"
