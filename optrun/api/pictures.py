"""Pictures of runs and sweeps: what each kind draws, and the options that it takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optrun.analysis.best_curves import best_curves
from optrun.analysis.comparison import Comparison
from optrun.analysis.heat import heat_of
from optrun.analysis.run_difference import differing_labels
from optrun.analysis.sensitivity import default_parameter, sensitivities
from optrun.analysis.setting_curves import (
    MOST_CURVES,
    Curves,
    best_settings,
    caption_of,
    curves_of,
    missing_curve,
)
from optrun.analysis.tuning import tuning_of
from optrun.api.comparisons import compare, compared_sweeps
from optrun.api.runs import Run
from optrun.api.sweeps import Sweep
from optrun.api.trajectories import runs_of, ways_of
from optrun.errors import ConfigError, did_you_mean
from optrun.plots.best_figure import best_figure
from optrun.plots.figure import curves_figure
from optrun.plots.heat_figure import heat_figure
from optrun.plots.look import Look
from optrun.plots.ranking_figures import profile_figure, ranking_figure
from optrun.plots.sensitivity_figure import sensitivity_figure
from optrun.plots.trajectory_figure import trajectory_figure
from optrun.plots.tuning_figure import tuning_figure

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

TAKES = {
    "curves": ("metric", "log", "smooth", "problem"),
    "sensitivity": ("metric", "log", "over", "problem"),
    "best": ("by", "metric", "log", "smooth"),
    "profile": ("by", "metric"),
    "ranking": ("by", "metric"),
    "heat": ("metric", "log", "over"),
    "tuning": ("by", "metric", "log"),
    "trajectory": ("log", "problem"),
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
    problem: str | None = None

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


def run_picture(run: Run, choice: Choice, look: Look) -> "Picture":
    """Draw a metric and the learning rate of a run."""
    choice.check("curves")
    curves = curves_of([(run.curves, run.evaluations)], choice.smooth, str(run.config.get("name", "run")))
    return _drawn_curves([curves], "", choice, look)


def sweep_picture(sweep: Sweep, kind: str | None, choice: Choice, look: Look) -> "Picture":
    """Draw a sweep; without a kind, its sensitivity if there is a parameter for one, else its best curves."""
    if kind is None:
        undecided = choice.metric is None and choice.smooth == 1
        wanted = choice.over or (undecided and default_parameter(sweep.ranking) is not None)
        kind = "sensitivity" if wanted else "curves"
    return picture_of([sweep], kind, choice, look)


def comparison_picture(found: Comparison, kind: str, look: Look) -> "Picture":
    """Draw a comparison over problems."""
    if kind not in OF_COMPARISONS:
        hint = did_you_mean(kind, OF_COMPARISONS)
        raise ConfigError(f"kind {kind!r}: that of a comparison is {' or '.join(OF_COMPARISONS)}.{hint}")
    return OF_COMPARISONS[kind](found, look=look)


OF_COMPARISONS: dict[str, Callable[..., "Picture"]] = {"profile": profile_figure, "ranking": ranking_figure}


def picture_of(sweeps: Sequence[Sweep], kind: str, choice: Choice, look: Look) -> "Picture":
    """Draw sweeps, given with a kind of picture and options that it takes."""
    choice.check(kind)
    return DRAW[kind](sweeps, choice, look)


def _drawn_curves(drawn: Sequence[Curves], caption: str, choice: Choice, look: Look) -> "Picture":
    metric = choice.metric or "loss"
    for each in drawn:
        if not each.curves or metric not in each.metrics:
            raise missing_curve(each.label, metric, each.metrics if each.curves else ())
    return curves_figure(
        drawn, metric=metric, log=choice.log, caption=caption, smooth=choice.smooth, look=look
    )


def _only(sweeps: Sequence[Sweep], what: str) -> Sweep:
    if len(sweeps) != 1:
        raise ConfigError(f"a {what} needs one sweep, not {len(sweeps)}")
    return sweeps[0]


def _curves(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    sweep = _only(sweeps, "picture of the best curves")
    chosen = best_settings(sweep.ranking, sweep.states, MOST_CURVES, choice.problem)
    if not chosen:
        raise ConfigError("no curves yet: no run has ended")
    labels = differing_labels([sweep.ranking.setting(runs[0]) for runs in chosen])
    drawn = [
        curves_of(
            [(run.curves, run.evaluations) for run in map(sweep.runs.__getitem__, runs)], choice.smooth, label
        )
        for runs, label in zip(chosen, labels, strict=True)
    ]
    return _drawn_curves(drawn, caption_of(drawn), choice, look)


def _sensitivity(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    sweep = _only(sweeps, "sensitivity plot")
    if len(choice.over) > 1:
        raise ConfigError("over: a sensitivity is over one parameter; a heat map is over two")
    over = choice.over[0] if choice.over else None
    found = sensitivities(*sweep.ranked_by(choice.metric), over, choice.problem)
    return sensitivity_figure(
        found, name=str(sweep.runs[0].config.get("name", "sweep")), log=choice.log, look=look
    )


def _best(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    found = best_curves(compared_sweeps(sweeps), choice.by, choice.metric, choice.smooth)
    return best_figure(found, log=choice.log, smooth=choice.smooth, look=look)


def _profile(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    return profile_figure(compare(*sweeps, by=choice.by, metric=choice.metric), look=look)


def _ranking(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    return ranking_figure(compare(*sweeps, by=choice.by, metric=choice.metric), look=look)


def _heat(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    sweep = _only(sweeps, "heat map")
    found = heat_of(*sweep.ranked_by(choice.metric), choice.over)
    return heat_figure(found, log=choice.log, look=look)


def _tuning(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    return tuning_figure(
        tuning_of(compared_sweeps(sweeps), choice.by, choice.metric), log=choice.log, look=look
    )


def _trajectory(sweeps: Sequence[Sweep], choice: Choice, look: Look) -> "Picture":
    runs = [run for sweep in sweeps for run in runs_of(sweep, choice.problem)[0]]
    return trajectory_figure(*ways_of(runs), log=choice.log, look=look)


DRAW: dict[str, Callable[[Sequence[Sweep], Choice, Look], "Picture"]] = {
    "curves": _curves,
    "sensitivity": _sensitivity,
    "best": _best,
    "profile": _profile,
    "ranking": _ranking,
    "heat": _heat,
    "tuning": _tuning,
    "trajectory": _trajectory,
}
