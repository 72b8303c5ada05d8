"""Which learning rates train: the range near the best one, and where divergence begins."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from optrun.analysis.leaderboard import Standing

WITHIN = 0.05
"""How much worse than the best median a rate of the range may be, relative to it."""

DECADE = 32
"""Places of the grid in a factor of ten."""

COARSE, FINE, EDGE = 16, 8, 4
"""Places between two rates: over all decades, with one seed; around the best one; where divergence begins."""

MOST_FINE = 9
"""The most rates around the best one that are tried at FINE; a wider range is tried at COARSE."""

REACH, FARTHEST = 2 * DECADE, 7 * DECADE
"""How far the first grid reaches to either side of the rate of the config, and how far a widened one may."""

ABOVE = 3 * COARSE
"""How far above the best rate divergence is looked for."""

STEEP = 2.0
"""The ratio of neighbouring medians from which on rates between them are tried."""

Trial = Callable[[Sequence[float], int], Iterable[Standing]]
"""Runs rates with so many seeds, and returns a standing for each, in their order."""


@dataclass(frozen=True)
class RateOutcome:
    """How the runs of one rate ended; a quantile that falls on diverged runs is None."""

    rate: float
    seeds: int
    median: float | None
    lower: float | None
    upper: float | None
    diverged: int

    @classmethod
    def of(cls, rate: float, standing: Standing) -> "RateOutcome":
        """Return the outcome that a standing tells."""
        of = standing
        return cls(rate, of.runs, of.median, of.lower, of.upper, of.diverged)


@dataclass(frozen=True)
class FoundRates:
    """The metric of runs that differ in the learning rate alone, in the order of the rates."""

    parameter: str
    metric: str
    maximize: bool
    seeds: int
    """The most seeds of a rate; far from the best one rates have a single seed."""
    given: float
    """The rate of the config."""
    initial: float | None
    """The metric before the first step, where it is a loss: a run that ends above it has not trained."""
    outcomes: Sequence[RateOutcome]
    cautions: Sequence[str] = ()
    rounding: float | None = None
    """Where the metric is a loss, up to which value it is 0 but for rounding, so that such rates are equal."""

    @cached_property
    def best(self) -> RateOutcome | None:
        """The rate with the best median, the middle one of equals; None if nothing trained."""
        values = [self._resolved(each) for each in self._thorough]
        place = best_place(dict(enumerate(values)), self.maximize)
        return None if place is None else self._thorough[place]

    @cached_property
    def is_rounding(self) -> bool:
        """Whether the best loss is 0 but for rounding, as then are those of the range: it does not tell rates apart."""
        return self.best is not None and self.rounding is not None and self._resolved(self.best) == 0

    @cached_property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest of the rates around the best one whose medians are within 5 % of its median."""
        if self.best is None:
            return None
        medians = {each.rate: self._resolved(each) for each in self._thorough}
        return around(medians, self.best.rate, self.maximize)

    @cached_property
    def diverges_from(self) -> float | None:
        """The lowest rate above the best one from which on the runs diverge, or end above the initial loss."""
        edge = None
        for each in reversed(self.outcomes):
            if (self.best is not None and each.rate <= self.best.rate) or not self._is_lost(each):
                break
            edge = each.rate
        return edge

    @cached_property
    def recommended(self) -> float | None:
        """The middle one of the rates of the range that are a factor of two below divergence; without any, the best.

        Where the loss is rounding in the whole range it is the lowest one.
        """
        if self.best is None or self.range is None:
            return None
        low, high = self.range
        edge = math.inf if self.diverges_from is None else self.diverges_from
        safe = [each.rate for each in self._thorough if low <= each.rate <= high and each.rate <= edge / 2]
        if self.is_rounding:
            return min(safe, default=self.best.rate)
        middle = math.log(low * min(high, edge / 2)) / 2 if safe else 0.0
        return min(safe, key=lambda rate: abs(math.log(rate) - middle), default=self.best.rate)

    @property
    def is_at_edge(self) -> bool:
        """Whether no rate beyond the range was tried at one of its ends, so that it may reach farther."""
        if self.range is None:
            return False
        return self.range[0] == self.outcomes[0].rate or self.range[1] == self.outcomes[-1].rate

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **asdict(self),
            "outcomes": [asdict(each) for each in self.outcomes],
            "best": self.best and asdict(self.best),
            "range": self.range and list(self.range),
            "diverges_from": self.diverges_from,
            "recommended": self.recommended,
        }

    def __str__(self) -> str:
        of = f"{self.metric}, {self.seeds} seeds" if self.seeds > 1 else f"{self.metric}, one seed"
        if self.best is None or self.range is None:
            median = f" in the median of {self.seeds} seeds" if self.seeds > 1 else ""
            rates = len(self.outcomes)
            lines = [f"no {self.parameter} trains: all of {rates} end no better than they begin{median}"]
        else:
            low, high = self.range
            near = f"within {100 * WITHIN:.0f} % of the best, {self.best.median:.4g} ({of})"
            if self.is_rounding:
                near = f"no more than rounding, {self.rounding:.2g} ({of})"
            lines = [
                f"recommended: {self.parameter}={self.recommended:.4g}",
                f"{near}: {low:.4g} to {high:.4g}",
            ]
            highest = f"up to {self.outcomes[-1].rate:.4g}, the highest that was tried"
            edge = self.diverges_from
            lines.append(f"no divergence {highest}" if edge is None else f"diverges from {edge:.4g} on")
        if self.diverges_from is not None and self.recommended and self.diverges_from < 2 * self.recommended:
            lines.append("careful: the best rates are less than a factor of two below divergence")
        if self.is_rounding:
            lines.append(
                f"careful: {self.metric} is 0 but for rounding at these rates: the lowest is recommended"
            )
        return "\n".join([*lines, *(f"careful: {each}" for each in self.cautions)])

    @property
    def _thorough(self) -> list[RateOutcome]:
        """The rates that were tried with all seeds, whose medians can be compared."""
        return [each for each in self.outcomes if each.seeds == self.seeds]

    def _resolved(self, of: RateOutcome) -> float | None:
        return resolved(of.median, self.rounding)

    def _is_lost(self, of: RateOutcome) -> bool:
        return of.median is None or (self.initial is not None and not of.median < self.initial)


def best_place(medians: Mapping[Any, float | None], maximize: bool) -> Any:
    """Return the key of the best value, the middle one of equals; None where none is a value."""
    known = {key: value for key, value in medians.items() if value is not None}
    if not known:
        return None
    best = max(known.values()) if maximize else min(known.values())
    equals = sorted(key for key, value in known.items() if value == best)
    return equals[(len(equals) - 1) // 2]


def resolved(loss: float | None, rounding: float | None) -> float | None:
    """Return a loss, or 0 for one that is rounding."""
    return 0.0 if loss is not None and rounding is not None and abs(loss) <= rounding else loss


def is_near(value: float | None, best: float, maximize: bool) -> bool:
    """Whether a value is within 5 % of the best one."""
    if value is None:
        return False
    return (best - value if maximize else value - best) <= WITHIN * abs(best)


def around(medians: Mapping[Any, float | None], best: Any, maximize: bool) -> tuple[Any, Any]:
    """Return the first and the last key around the best one up to which all values are within 5 % of its value."""
    keys, value = sorted(medians), medians[best]
    assert value is not None
    low = high = keys.index(best)
    while low > 0 and is_near(medians[keys[low - 1]], value, maximize):
        low -= 1
    while high < len(keys) - 1 and is_near(medians[keys[high + 1]], value, maximize):
        high += 1
    return keys[low], keys[high]


def first_ends(given: float) -> tuple[float, float]:
    """Return the lowest and the highest rate of the first grid."""
    return _rate(given, -REACH), _rate(given, REACH)


def _rate(given: float, place: int) -> float:
    return float(f"{given * 10 ** (place / DECADE):.3g}") if place else given


class Search:
    """Rates to try, as factors of a given one: a coarse grid that widens, then a fine one around the best rate.

    ``trial`` runs rates; whose median is not better than ``initial()`` has not trained, and medians that are no more
    than ``rounding()`` are equal. Beyond the first grid only rates are tried that ``allows`` permits.
    """

    def __init__(
        self,
        trial: Trial,
        given: float,
        seeds: int,
        maximize: bool,
        initial: Callable[[], float | None],
        rounding: Callable[[], float | None] = lambda: None,
        allows: Callable[[float], bool] = lambda rate: True,
    ) -> None:
        self._trial, self._given, self._seeds, self._maximize = trial, given, seeds, maximize
        self._initial, self._rounding = initial, rounding
        self._known: dict[int, Standing] = {}
        self._least, self._most = -FARTHEST, FARTHEST
        while self._least < -REACH and not allows(self._rate(self._least)):
            self._least += COARSE
        while self._most > REACH and not allows(self._rate(self._most)):
            self._most -= COARSE

    def outcomes(self) -> list[RateOutcome]:
        """Try rates until the best one is known, and return how each ended."""
        self._try(range(-REACH, REACH + 1, COARSE), 1)
        while (more := self._beyond()) is not None:
            self._try(more, 1)
        best = best_place(self._medians(), self._maximize)
        if best is not None:
            self._look_closer(best)
        return [RateOutcome.of(self._rate(place), self._known[place]) for place in sorted(self._known)]

    def _beyond(self) -> Sequence[int] | None:
        """Return coarse places beyond an end that the best rate is at, or near without divergence above; else None."""
        medians = self._medians()
        best, low, high = best_place(medians, self._maximize), min(medians), max(medians)
        if best in (None, low) and low > self._least:
            return range(low - DECADE, low, COARSE)
        if best is not None and high < min(best + ABOVE, self._most) and not self._is_lost(high):
            return range(high + COARSE, high + DECADE + 1, COARSE)
        return None

    def _look_closer(self, best: int) -> None:
        low, high = around(self._medians(), best, self._maximize)
        low, high = low - COARSE, high + COARSE
        step = FINE if (high - low) // FINE < MOST_FINE else COARSE
        edge = self._edge(best)
        self._try({*range(low, high + 1, step), *edge}, self._seeds)
        if not self._go_on_to_what_trains():
            return
        while (more := self._beyond_range(step)) is not None:
            self._try([more], self._seeds)
        while step > 1 and not self._is_flat(step):
            step //= 2
            best = self._best()
            self._try([best - step, best + step], self._seeds)

    def _go_on_to_what_trains(self) -> bool:
        """Try with all seeds what trained with one, the best first, until one has a median; return whether one has."""
        while best_place(self._medians(self._seeds), self._maximize) is None:
            alone = {
                place: of for place, of in self._medians().items() if self._known[place].runs < self._seeds
            }
            best = best_place(alone, self._maximize)
            if best is None:
                return False
            self._try([best], self._seeds)
        return True

    def _edge(self, best: int) -> Sequence[int]:
        """Return places between the last coarse rate that trains and the first one above the best that does not."""
        lost = None
        for place in sorted(self._known, reverse=True):
            if place <= best or not self._is_lost(place):
                break
            lost = place
        return () if lost is None else range(lost - COARSE + EDGE, lost, EDGE)

    def _beyond_range(self, step: int) -> int | None:
        """Return the place beside the range where its end is an end of what has all seeds; None if it is at none."""
        medians = self._medians(self._seeds)
        low, high = around(medians, self._best(), self._maximize)
        if low == min(medians) and low > self._least:
            return int(low) - step
        return int(high) + step if high == max(medians) and high < self._most else None

    def _is_flat(self, step: int) -> bool:
        """Whether rates between the best one and its neighbours promise nothing."""
        medians, best = self._medians(self._seeds), self._best()
        value = medians[best]
        assert value is not None
        beside = [medians.get(best - step), medians.get(best + step)]
        if step > FINE // 2 or self._maximize or value <= 0:
            return all(is_near(each, value, self._maximize) for each in beside)
        return all(each is not None and each <= STEEP * value for each in beside)

    def _is_lost(self, place: int) -> bool:
        median, initial = self._known[place].median, self._initial()
        return median is None or (initial is not None and not median < initial)

    def _best(self) -> int:
        return int(best_place(self._medians(self._seeds), self._maximize))

    def _medians(self, seeds: int = 1) -> dict[int, float | None]:
        rounding = self._rounding()
        return {place: resolved(of.median, rounding) for place, of in self._known.items() if of.runs >= seeds}

    def _rate(self, place: int) -> float:
        return _rate(self._given, place)

    def _try(self, places: Iterable[int], seeds: int) -> None:
        new = sorted(
            place
            for place in places
            if self._least <= place <= self._most
            and (place not in self._known or self._known[place].runs < seeds)
        )
        if new:
            rates = [self._rate(place) for place in new]
            self._known.update(zip(new, self._trial(rates, seeds), strict=True))
