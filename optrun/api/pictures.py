"""Pictures of sweeps: what each kind draws, and the options that it takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optrun.analysis.best_curves import best_curves
from optrun.analysis.heat import heat_of
from optrun.api.comparisons import compare, compared_sweeps
from optrun.api.sweeps import Sweep
from optrun.errors import ConfigError, did_you_mean
from optrun.plots.best_figure import best_figure
from optrun.plots.heat_figure import heat_figure
from optrun.plots.look import Look
from optrun.plots.ranking_figures import profile_figure, ranking_figure

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

TAKES = {
    "curves": ("metric", "log", "smooth"),
    "sensitivity": ("metric", "log", "over"),
    "best": ("by", "metric", "log", "smooth"),
    "profile": ("by", "metric"),
    "ranking": ("by", "metric"),
    "heat": ("metric", "log", "over"),
}
"""The options that each kind of picture takes, beside those of its look."""


@dataclass(frozen=True)
class Choice:
    """What is drawn."""

    metric: str | None = None
    by: str | None = None
    over: tuple[str, ...] = ()
    log: bool | None = None
    smooth: int = 1

    def check(self, kind: str, *, dashes: str = "") -> None:
        """Raise ConfigError for an option that a kind of picture does not take; ``dashes`` precede it in a command."""
        if kind not in TAKES:
            raise ConfigError(f"kind {kind!r}: it is one of {', '.join(TAKES)}.{did_you_mean(kind, TAKES)}")
        if type(self.smooth) is not int or self.smooth < 1:
            raise ConfigError(f"{dashes}smooth {self.smooth!r}: it is a number of recorded steps, 1 or more")
        for option, value in vars(self).items():
            if value != getattr(Choice, option) and option not in TAKES[kind]:
                name = "linear" if value is False else option
                kinds = " or ".join(each for each, taken in TAKES.items() if option in taken)
                raise ConfigError(f"{dashes}{name} is for {dashes}kind {kinds}, not for {kind}")


def picture_of(sweeps: Sequence[Sweep], kind: str, choice: Choice, look: Look) -> "Picture":
    """Draw sweeps, given with a kind of picture and options that it takes."""
    choice.check(kind)
    return DRAW[kind](sweeps, choice, look)


def _best(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    found = best_curves(compared_sweeps(sweeps), choice.by, choice.metric or "loss", choice.smooth)
    return best_figure(found, log=choice.log, smooth=choice.smooth, look=look)


def _profile(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    return profile_figure(compare(*sweeps, by=choice.by, metric=choice.metric), look=look)


def _ranking(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    return ranking_figure(compare(*sweeps, by=choice.by, metric=choice.metric), look=look)


def _heat(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    if len(sweeps) != 1:
        raise ConfigError(f"a heat map needs one sweep, not {len(sweeps)}")
    found = heat_of(sweeps[0].ranking, sweeps[0].states, choice.over, choice.metric)
    return heat_figure(found, log=choice.log, look=look)


DRAW: dict[str, Callable[[Sequence[Sweep], Choice, Look], "Picture"]] = {
    "best": _best,
    "profile": _profile,
    "ranking": _ranking,
    "heat": _heat,
}
