"""The figures that runs have, and what is said of one that none has."""

from collections.abc import Collection, Iterable

from optrun.config.goal import of_data
from optrun.errors import did_you_mean
from optrun.store import RunState, Status
from optrun.store.types import STEPS_TO_TARGET, TIME_TO_TARGET, TO_TARGET
from optrun.training.curve_figures import CurveFigure, names_of
from optrun.training.figures import FINAL_LOSS, lacking_part


def figures_in(states: Iterable[RunState], *, has_target: bool = False) -> dict[str, None]:
    """Return the names of the figures of runs, in their order; ``has_target`` tells that runs may end at a target.

    Without a target there is no time to it either, which every run would have missed.
    """
    known: dict[str, None] = {}
    for state in states:
        known |= dict.fromkeys(state.figures)
        has_target |= state.status is Status.TARGET_REACHED
    if has_target:
        return known | {STEPS_TO_TARGET: None}
    return {name: None for name in known if name != TIME_TO_TARGET}


def lacking(name: str, known: Collection[str]) -> str:
    """Return what to say of a figure that no run has, given those there are: why, which is meant, or all of them."""
    series = ["loss" if each == FINAL_LOSS else each for each in known if each not in TO_TARGET]
    figure = CurveFigure.named(name)
    if figure is not None and set(figure.columns) <= set(series):
        return " It needs evaluations during the run: evaluate.every"
    if name in TO_TARGET and STEPS_TO_TARGET not in known:
        return " It is a figure of runs that end at a loss: stop.target"
    if name == TIME_TO_TARGET:
        return f" Runs are timed in a sweep by it, where each is alone: sweep.metric.name={TIME_TO_TARGET}"
    if any(of_data(each) for each in known) and (part := lacking_part(name, known)):
        return part
    if hint := did_you_mean(name, [*known, *names_of(series)]):
        return hint
    return f" There are: {', '.join(sorted(known))}" if known else ""
