"""Axes of text plots: ranges, round ticks and tick labels; the choice of a log scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array

DECADES_FOR_LOG = 2.0

CURVE_RATIO = 30.0
"""The ratio of values from which on the curves of best settings have a log axis: their ends are what is compared."""


FEWEST_TICKS = 3
"""So few powers of ten are too few along an axis of logarithms."""

NARROW = 1e-3
"""A range is narrow beside its numbers where it is so much smaller: they would differ in their last digits alone."""


@dataclass(frozen=True)
class PlotAxis:
    """The range of an axis; its scale is logarithmic if `log`, its ticks are integers if `whole`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def place(self, values: Array) -> Array:
        """Map values to positions on the axis: 0 at the low end, 1 at the high end."""
        low, high = self._scaled(np.array([self.low, self.high])) / 2
        return np.asarray((self._scaled(values) / 2 - low) / (high - low))

    def ticks(self, most: int) -> list[float]:
        """Return round values within the range, about ``most`` of them at most."""
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
    """Return the axis of a range, widened if its ends coincide."""
    if log:
        return PlotAxis(low, high, True) if high > low * (1 + 1e-9) else PlotAxis(low / 2, high * 2, True)
    if high / 2 - low / 2 > 1e-12 * max(abs(low), abs(high)):
        return PlotAxis(low, high)
    margin = abs(low) / 2 or 1.0
    return PlotAxis(low - margin, high + margin)


def spans_decades(low: float, high: float, decades: float = DECADES_FOR_LOG) -> bool:
    """Whether a range is positive and spans more than so many decades."""
    return low > 0 and math.log10(high) - math.log10(low) > decades


def prefers_log(metric: str, curves: Sequence[Array]) -> bool:
    """Whether to draw the curves of a metric on a log axis."""
    if metric.partition(".")[0] == "lr":
        return lr_prefers_log(np.concatenate(curves))
    return values_prefer_log(curves)


def curves_prefer_log(metric: str, curves: Sequence[Array]) -> bool:
    """Whether to draw the curves of best settings on a log axis: they span CURVE_RATIO, learning rates two decades."""
    if metric.partition(".")[0] == "lr":
        return prefers_log(metric, curves)
    return values_prefer_log(curves, math.log10(CURVE_RATIO))


def values_prefer_log(curves: Sequence[Array], decades: float = DECADES_FOR_LOG) -> bool:
    """Whether to draw curves on a log axis: most values are positive, none is negative, and they span the decades.

    A few zeros are accepted and drawn as gaps: a loss in float32 may underflow to 0.
    """
    known = np.concatenate([np.zeros(0), *(values[np.isfinite(values)] for values in curves)])
    positive = known[known > 0]
    if 2 * positive.size <= known.size or known.min() < 0:
        return False
    return spans_decades(float(positive.min()), float(positive.max()), decades)


def lr_prefers_log(rates: Array) -> bool:
    """Whether to draw learning rates on a log axis: their 10 % and 90 % quantiles are two decades apart.

    Quantiles, so that a schedule that approaches zero only in its last steps is drawn on a linear axis.
    """
    known = rates[np.isfinite(rates)]
    return known.size > 0 and spans_decades(*np.quantile(known, (0.1, 0.9), method="nearest").tolist())


def round_log_values(low: float, high: float, most: int = 6) -> list[float]:
    """Return about ``most`` round values within a positive range: powers of ten, else with 2 and 5 times, else even."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1,), (1, 2, 5)):
        values = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in factors]
        within = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(within) >= FEWEST_TICKS:
            return within[:: math.ceil(len(within) / most)]
    return _round_values(low, high, most)


def base_of(low: float, high: float) -> float:
    """Return the shortest number within a range that is narrow beside it, 0 for others: ticks are told from it."""
    if high - low > NARROW * max(abs(low), abs(high)):
        return 0.0
    texts = (f"{low / 2 + high / 2:.{digits}g}" for digits in range(1, 18))
    return next((float(text) for text in texts if low <= float(text) <= high), 0.0)


def labels(ticks: Sequence[float]) -> list[str]:
    """Return tick labels with as few digits as keep them exact and distinct."""
    texts: list[str] = []
    for digits in range(1, 18):
        texts = [_short(format(tick, f".{digits}g")) for tick in ticks]
        exact = all(
            math.isclose(float(text), tick, rel_tol=1e-9) for text, tick in zip(texts, ticks, strict=True)
        )
        if exact and len(set(texts)) == len(texts):
            break
    return texts


def power_of_ten(exponent: int) -> str:
    """Return a power of ten as text."""
    return {0: "1", 1: "10"}.get(exponent) or "10" + str(exponent).translate(_RAISED)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
