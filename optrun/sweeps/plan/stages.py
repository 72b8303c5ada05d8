"""What a sweep executes next, given how its runs have done: all at once, rung by rung, or generation by generation.

Stages depend on results alone. A sweep that goes on after a kill comes through the same ones again, and executes
what is left of them.
"""

import math
from collections.abc import Generator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from optrun.config.sweep.model import Metric
from optrun.store import RunState, Status
from optrun.sweeps.methods.halving import by_problem, ranked
from optrun.sweeps.methods.method import Candidate, Proposal, method_of, proposed
from optrun.sweeps.plan.expand import Plan
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


def stages_of(plan: Plan, decisions: Sequence[Mapping[str, Any]]) -> Stages:
    """Return the stages of a plan; `decisions` tell which settings went on from each rung at an earlier time."""
    if not plan.is_decided_on_the_way:
        yield Stage(_runs(plan, range(len(plan.nodes))))
        return
    method = method_of(plan.swept, plan.configs)
    proposal = proposed(method, ())
    known = plan.nodes
    if method.grows and proposal is not None:  # the plan may have the settings of later proposals
        known = [*known[: len(plan.swept.sweep.include) + len(proposal.settings)]]
    elif proposal is not None:  # the plan has its settings, in less memory
        proposal = replace(proposal, settings=())
    problems = dict(enumerate(plan.problems)) if method.prunes else {}
    latest: Sequence[int] = range(len(known))
    stage = Stage(_runs(plan, latest), settings=known if method.grows else ())
    earlier = iter(decisions)
    while proposal is not None:
        # What is the only one of its problem has nothing to be compared with.
        until = proposal.until if len({problems.get(each, "") for each in latest}) < len(latest) else None
        states = yield replace(stage, until=until)
        if until is None and not method.grows:
            return
        trials = _trials(plan, known, frozenset(latest), states, problems)
        proposal = proposed(method, trials)
        if until is not None and (decision := next(earlier, None)) is not None:
            # The proposal was made from later scores than the decision; the oldest decisions have no step.
            later = proposal.until if proposal is not None else None
            proposal = Proposal(until=decision.get("until", later))
            latest = decision["promoted"]
            stage = Stage(_runs(plan, latest))
        elif proposal is None:
            return
        elif until is None:
            latest = range(len(known), len(known) + len(proposal.settings))
            known = [*known, *proposal.settings]
            stage = Stage(_runs(plan, latest), settings=proposal.settings)
        else:
            promoted = [trial.number for trial in proposal.promoted]
            ends = _ends(plan, [trials[each] for each in latest], promoted, states, until)
            latest = promoted
            stage = Stage(_runs(plan, latest), promoted=promoted, ends=ends)


def _trials(
    plan: Plan,
    settings: Sequence[Setting],
    latest: Set[int],
    states: Sequence[RunState],
    problems: Mapping[int, str],
) -> list[Candidate]:
    found = []
    for number, setting in enumerate(settings):
        own = states[number * plan.repeats : (number + 1) * plan.repeats]
        failed = any(state.status is Status.FAILED for state in own)
        of, problem = score(own, plan.metric), problems.get(number, "")
        found.append(Candidate(number, setting, of, failed, number in latest, problem))
    return found


def score(states: Sequence[RunState], metric: Metric) -> float | None:
    """Return the median of the metric over the runs of a setting, where one that diverged counts as the worst.

    None where it is the worst, or a run has failed or has no such figure.
    """
    if any(state.status is Status.FAILED or not state.has_figure(metric.name) for state in states):
        return None
    worst = math.inf if metric.goal == "minimize" else -math.inf
    figures = [state.figure(metric.name) for state in states]
    found = median(worst if figure is None else figure for figure in figures)
    return found if math.isfinite(found) else None


def _ends(
    plan: Plan, latest: Sequence[Candidate], promoted: Sequence[int], states: Sequence[RunState], step: int
) -> dict[int, str]:
    """Return the runs that have not ended of settings that do not go on, each with the reason."""
    places = {
        trial.number: f"{ordinal(place)} of {len(own)}"
        for own in by_problem(latest)
        for place, trial in enumerate(ranked(own, plan.metric.goal), 1)
    }
    lacking = f"a run of its setting has no finite {plan.metric.name}"
    return {
        run: f"stopped at the rung of step {step}: {places.get(trial.number, lacking)}"
        for trial in latest
        if trial.number not in promoted
        for run in _runs(plan, [trial.number])
        if not states[run].status.final
    }


def _runs(plan: Plan, settings: Sequence[int]) -> Sequence[int]:
    if isinstance(settings, range):
        return range(settings.start * plan.repeats, settings.stop * plan.repeats)
    return [each * plan.repeats + i for each in settings for i in range(plan.repeats)]


def ordinal(place: int) -> str:
    """Return a place in words: 1st, 2nd, 3rd, 11th."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{'th' if 10 <= place % 100 <= 20 else ending}"
