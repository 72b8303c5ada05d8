"""The width of packs, measured: widths are tried in turns, where that takes a small part of what it may save."""

import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from optrun.arrays import one_blas_thread
from optrun.config import RunConfig
from optrun.store import RunState
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.packs import Group
from optrun.sweeps.plan.width import Measured, remember, remembered
from optrun.training.estimate import FIRST_STEPS, Trial

_log = logging.getLogger("optrun")

SHARE = 0.01
"""The most that a measurement may take of what the runs are estimated to."""

ROUND = 0.75
"""How much of what is left of that goes to one comparison: another may follow."""

GAIN = 0.05
"""By how much another width must be faster: less may be noise."""

TURNS = 9
"""Times that each width is tried, of which the shortest counts."""

SHORTEST, LONGEST = 0.003, 0.03
"""Seconds of a turn."""

FEWEST = 2
"""Steps of a turn."""

WORTH_WORK = 500_000_000
"""Steps times parameters of a job's runs from which a pack is built to see whether to measure pays."""

WORTH_STEPS = 1000
"""Steps of a job's packs from which it is: those of a trial are few beside them."""

Costs = Callable[[Sequence[int]], Sequence[float] | None]
"""Returns the seconds of a lane's step at each of these widths, measured together; None where that does not pay."""


def fastest(width: int, most: int, costs: Costs) -> Measured | None:
    """Return the fastest width from 1 to ``most``, found from ``width`` by halving or doubling it; None without costs.

    Another one is taken where it gains `GAIN`, and the next one in its direction where that gains as much again.
    """
    tried = [each for each in (width, width // 2, 2 * width) if 1 <= each <= most]
    found = costs(tried)
    if found is None:
        return None
    best, widest = width, max(tried)
    step = tried[min(range(len(tried)), key=found.__getitem__)]
    gains = min(found) <= (1 - GAIN) * found[0]
    while gains:
        next_one = 2 * step if step > width else step // 2
        best, gains = step, False
        if 1 <= next_one <= most and (found := costs([best, next_one])) is not None:
            widest = max(widest, next_one)
            step, gains = next_one, found[1] <= (1 - GAIN) * found[0]
    return Measured(best, widest)


class Widths:
    """Chooses the widths of groups while a sweep goes on."""

    def __init__(self, jobs: int, limit: int | None, interrupted: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._limit = limit
        self._interrupted = interrupted
        self._found: dict[str, Measured] = {}

    def chosen(
        self,
        plan: Plan,
        groups: Sequence[Group],
        wanted: Collection[int],
        states: Sequence[RunState],
        until: int | None = None,
    ) -> list[Group]:
        """Return the groups with the widths that are known, measured now where the steps that are left are worth it.

        No result depends on it, and what goes wrong leaves a width as it was. An interruption ends a measurement.
        """
        chosen_runs = set(wanted)
        alike: defaultdict[str, list[tuple[Group, list[int]]]] = defaultdict(list)
        for group in groups:
            own = [run for run in group.runs if run in chosen_runs]
            if group.choice is not None and own:
                alike[group.choice.shape].append((group, own))
        for of_shape in alike.values():
            group, own = max(of_shape, key=lambda each: len(each[1]))
            left = sum(_steps_left(each, of, states, until) for each, of in of_shape)
            self._learn(group, [plan.configs[run] for run in own], left)
        return [self._with_width(group) for group in groups]

    def _learn(self, group: Group, configs: Sequence[RunConfig], lane_steps: int) -> None:
        """Find out the width for all groups like this one, if it is not known and so many steps are worth it."""
        assert group.choice is not None
        shape = group.choice.shape
        most = min(group.choice.most, self._limit or len(configs), math.ceil(len(configs) / self._jobs))
        width = min(group.width, most)
        known = self._found.get(shape) or remembered(shape)
        work = lane_steps * group.work / (len(group.runs) * max(group.choice.steps, 1))
        if most == 1 or (known is not None and known.holds(most)):
            return
        if work < WORTH_WORK * self._jobs or lane_steps < WORTH_STEPS * width * self._jobs:
            return

        def lanes_at(width: int) -> int:
            block = group.block(len(configs), width, self._jobs)
            return width // block * block

        found = measured(configs, width, most, lanes_at, lane_steps, self._jobs, self._interrupted)
        if found is not None:
            self._found[shape] = found
            remember(shape, found)

    def _with_width(self, group: Group) -> Group:
        if group.choice is None or (found := self._found.get(group.choice.shape)) is None:
            return group
        return replace(group, width=min(found.over(group.width), group.choice.most))


def _steps_left(group: Group, runs: Sequence[int], states: Sequence[RunState], until: int | None) -> int:
    assert group.choice is not None
    end = group.choice.steps if until is None else min(until, group.choice.steps)
    return sum(max(0, end - states[run].steps) for run in runs)


def measured(
    configs: Sequence[RunConfig],
    width: int,
    most: int,
    lanes_at: Callable[[int], int],
    lane_steps: int,
    jobs: int,
    interrupted: Callable[[], bool],
) -> Measured | None:
    """Return which width is the fastest for such runs; None where that cannot be found out in a small part of the time.

    ``lanes_at`` is how many lanes packs of a width have, ``lane_steps`` are the steps of all runs together, done by
    ``jobs`` at a time.
    """
    try:
        with one_blas_thread:
            bench = _Bench(configs, lanes_at(width), lane_steps, jobs, interrupted)
            return fastest(width, most, lambda widths: bench.costs([lanes_at(each) for each in widths]))
    except Exception:  # a run that raises does so again, where that is its result
        _log.debug("the width of packs was not measured", exc_info=True)
        return None


class _NoMeasureError(Exception):
    """There was an interruption, or lanes have ended, and what is timed is no whole pack any more."""


class _Bench:
    def __init__(
        self,
        configs: Sequence[RunConfig],
        lanes: int,
        lane_steps: int,
        jobs: int,
        interrupted: Callable[[], bool],
    ) -> None:
        self._configs = configs
        self._interrupted = interrupted
        # A worker has one core: where threads share a step here, time of the processor tells that nothing is gained.
        # That of Windows comes in slices of 16 ms.
        alone = jobs == 1 or sys.platform == "win32"
        self._clock = time.perf_counter if alone else time.process_time
        self._began = time.perf_counter()
        trial = Trial(configs[:lanes], clock=self._clock)
        self._problem = trial.pack.problem
        self._build = (time.perf_counter() - self._began) / lanes
        self._lane_step = self._timed(trial, FIRST_STEPS, FIRST_STEPS - 1) / lanes
        self._steps = trial.pack.steps
        self._budget = SHARE * self._lane_step * lane_steps / jobs

    def costs(self, lanes: Sequence[int]) -> list[float] | None:
        """Measure the seconds of a lane's step of packs of so many lanes, in turns; None where that does not pay."""
        steps = self._steps_of_a_turn(lanes)
        if steps is None:
            return None
        trials = {
            each: Trial(self._configs[:each], problem=self._problem, clock=self._clock) for each in lanes
        }
        best = dict.fromkeys(lanes, math.inf)
        for turn in range(1 + TURNS):
            for each, trial in trials.items():
                if turn == 0:
                    self._timed(trial, FIRST_STEPS, 1)
                else:
                    best[each] = min(best[each], self._timed(trial, 1, steps) / each)
        return list(best.values())

    def _steps_of_a_turn(self, lanes: Sequence[int]) -> int | None:
        """Return how many steps each of the packs can be given in a turn, for most of what is left of the time."""
        left = ROUND * (self._budget - (time.perf_counter() - self._began))
        step = self._lane_step * sum(lanes)
        left -= self._build * sum(lanes) + (FIRST_STEPS + 1 + TURNS) * step
        steps = min(
            int(left / (TURNS * step)),
            max(FEWEST, math.ceil(LONGEST * len(lanes) / step)),
            # A schedule may have nothing to say of steps behind its end.
            (self._steps - FIRST_STEPS - 3) // TURNS - 2,
        )
        return steps if steps >= FEWEST and steps * step >= SHORTEST * len(lanes) else None

    def _timed(self, trial: Trial, first: int, steps: int) -> float:
        """Return the seconds of a step, of so many that come after the first ones."""
        needed = 1 + first + steps
        memory, looks = trial.run(lambda looks: len(looks) > needed or self._interrupted())
        # The last look is behind the steps.
        if len(looks) < needed + 2 or any(state.status.final for state in memory.states()):
            raise _NoMeasureError
        return (looks[needed] - looks[1 + first]) / steps
