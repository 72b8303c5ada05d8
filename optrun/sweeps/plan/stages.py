"""What a sweep executes next, given how its runs have done: all at once, rung by rung, or generation by generation.

Stages depend on results alone. A sweep that goes on after a kill comes through the same ones again, and executes
what is left of them.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from optrun.config.sweep.model import Metric
from optrun.store import RunState, Status
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.optuna_study import Study
from optrun.sweeps.plan.spaces import Setting


@dataclass(frozen=True)
class Stage:
    """Runs that are executed before it is decided what comes next."""

    runs: Sequence[int]
    until: int | None = None
    """The step before which those that have not ended wait for the decision; None is their end."""
    settings: Sequence[Setting] = ()
    """Those of the runs, where they may be new to the plan."""
    promoted: Sequence[int] | None = None
    """The settings that go on from the rung before, where that has been decided now."""
    ends: Mapping[int, str] = field(default_factory=dict)
    """Runs that end at that rung, each with the reason."""


Stages = Generator[Stage, Sequence[RunState], None]
"""Gives stages, and takes the states of all runs at the end of each."""


def stages_of(plan: Plan, decisions: Sequence[Sequence[int]]) -> Stages:
    """Return the stages of a plan; `decisions` are the settings that went on from each rung at an earlier time."""
    match plan.swept.sweep.method:
        case "halving":
            return _rung_by_rung(plan, decisions)
        case "optuna":
            return _generation_by_generation(plan)
        case _:
            return _at_once(plan)


def outline(plan: Plan) -> list[tuple[int, int | None]]:
    """Return of each stage how many settings it has, at most, and the step to which they go; None is their end."""
    sweep, settings = plan.swept.sweep, len(plan.settings)
    if sweep.halving is not None:
        found: list[tuple[int, int | None]] = []
        for step in plan.rungs:
            if settings > 1:
                found.append((settings, step))
                settings = survivors(settings, sweep.halving.factor)
        return [*found, (settings, None)]
    left = plan.size // plan.repeats - settings
    batch = settings - len(sweep.include)
    return [(settings, None), *((min(batch, left - done), None) for done in range(0, left, max(batch, 1)))]


def score(states: Sequence[RunState], metric: Metric) -> float | None:
    """Return the median of the metric over the runs of a setting, where one that diverged counts as the worst.

    None where it is the worst, or a run has failed or has no such figure.
    """
    if any(
        state.status is Status.FAILED or not (state.is_bad or metric.name in state.summary)
        for state in states
    ):
        return None
    worst = math.inf if metric.goal == "minimize" else -math.inf
    figures = [state.figure(metric.name) for state in states]
    found = median(worst if figure is None else figure for figure in figures)
    return found if math.isfinite(found) else None


def survivors(settings: int, factor: int) -> int:
    """Return how many settings go on from a rung, at most."""
    return max(1, settings // factor)


def _at_once(plan: Plan) -> Stages:
    yield Stage(range(len(plan.configs)))


def _generation_by_generation(plan: Plan) -> Stages:
    study = Study(plan.swept)
    seeds = plan.repeats
    included = plan.nodes[: len(plan.swept.sweep.include)]
    first = 0
    while settings := study.ask():
        settings = [*included, *settings]
        runs = range(first * seeds, (first + len(settings)) * seeds)
        states = yield Stage(runs, settings=settings)
        results = [_result(states[run : run + seeds], plan.metric) for run in runs[::seeds]]
        study.tell(results[len(included) :])
        study.add(included, results[: len(included)])
        first += len(settings)
        included = ()


def _result(states: Sequence[RunState], metric: Metric) -> float | None:
    """Return the score of a setting, the worst where it has none, and None where a run has failed."""
    if any(state.status is Status.FAILED for state in states):
        return None
    found = score(states, metric)
    return found if found is not None else math.inf if metric.goal == "minimize" else -math.inf


def _rung_by_rung(plan: Plan, decisions: Sequence[Sequence[int]]) -> Stages:
    """Give the stages of successive halving, Jamieson & Talwalkar (2016), arXiv:1502.07943."""
    halving = plan.swept.sweep.halving
    assert halving is not None
    going: Sequence[int] = range(len(plan.settings))
    stage = Stage(_runs(plan, going))
    for i, step in enumerate(plan.rungs):
        if len(going) <= 1:
            break
        states = yield replace(stage, until=step)
        if i < len(decisions):
            going = decisions[i]
            stage = Stage(_runs(plan, going))
            continue
        ranked = _ranked(plan, going, states)
        promoted = sorted(ranked[: survivors(len(going), halving.factor)])
        ends = _ends(plan, going, ranked, promoted, states, step)
        going = promoted
        stage = Stage(_runs(plan, going), promoted=promoted, ends=ends)
    yield stage


def _ranked(plan: Plan, settings: Sequence[int], states: Sequence[RunState]) -> list[int]:
    """Return the settings that have a score, the best first, and of equal ones those that the plan has first."""
    seeds, sign = plan.repeats, -1 if plan.metric.goal == "maximize" else 1
    scores = {each: score(states[each * seeds : (each + 1) * seeds], plan.metric) for each in settings}
    return sorted(
        (each for each in settings if scores[each] is not None), key=lambda each: sign * (scores[each] or 0.0)
    )


def _ends(
    plan: Plan,
    settings: Sequence[int],
    ranked: Sequence[int],
    promoted: Sequence[int],
    states: Sequence[RunState],
    step: int,
) -> dict[int, str]:
    """Return the runs that have not ended of settings that do not go on, each with the reason."""
    places = {each: f"{ordinal(place)} of {len(settings)}" for place, each in enumerate(ranked, 1)}
    lacking = f"a run of its setting has no finite {plan.metric.name}"
    reasons = {
        each: f"stopped at the rung of step {step}: {places.get(each, lacking)}"
        for each in settings
        if each not in promoted
    }
    return {
        run: reason
        for each, reason in reasons.items()
        for run in _runs(plan, [each])
        if not states[run].status.final
    }


def _runs(plan: Plan, settings: Sequence[int]) -> list[int]:
    return [each * plan.repeats + i for each in settings for i in range(plan.repeats)]


def ordinal(place: int) -> str:
    """Return a place in words: 1st, 2nd, 3rd, 11th."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{'th' if 10 <= place % 100 <= 20 else ending}"
