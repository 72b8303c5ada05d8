"""Successive halving: the settings that do best at a rung, each among those of its problem, go on to the next one."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from annotated_types import Ge

from optrun.config import RunConfig
from optrun.config.sweep.resolve import SweepConfig
from optrun.errors import ConfigError
from optrun.registry import Steps
from optrun.sweeps.methods.method import Candidate, Proposal, Sampler
from optrun.sweeps.methods.sampling import Grid, Random
from optrun.sweeps.plan.spaces import Setting, Space


class Halving(Sampler):
    """The settings of a grid, or as many as there are trials; from rung to rung the best of each problem go on.

    Successive halving, Jamieson & Talwalkar (2016), arXiv:1502.07943.
    """

    trials = None
    prunes = True

    def __init__(
        self,
        swept: SweepConfig,
        /,
        *,
        min_steps: Annotated[
            Steps,
            "steps before the first comparison, the lowest rung; each rung is factor times higher",
        ],
        factor: Annotated[int, Ge(2), "the best 1/factor of the settings go on from each rung"] = 3,
    ) -> None:
        super().__init__(swept)
        self.factor = factor
        self.rungs = [min_steps]
        """The steps at which settings are compared, the last step not among them."""
        self._asked = 0

    def prepare(self, configs: Sequence[RunConfig]) -> None:
        """Find the rungs; ConfigError where the runs cannot be compared, or only at their end."""
        lengths = sorted({config.steps or 0 for config in configs})
        if 0 in lengths:
            raise ConfigError("halving counts steps: give steps, not epochs")
        if len(lengths) > 1:
            ends = f"{lengths[0]} and {lengths[-1]}"
            raise ConfigError(f"halving compares runs of equally many steps, not of {ends}")
        (steps,) = lengths
        if self.rungs[0] >= steps:
            text = f"must be < {steps}, the steps of a run (got {self.rungs[0]})"
            raise ConfigError(text, field="min_steps")
        while (higher := self.rungs[-1] * self.factor) < steps:
            self.rungs.append(higher)

    def sample(self, space: Space) -> Iterable[Setting]:
        """Return draws where there are trials, every combination where there are none."""
        sampler: type[Sampler] = Random if self.swept.sweep.draws else Grid
        return sampler(self.swept).sample(space)

    def propose(self, history: Sequence[Candidate]) -> Proposal | None:
        """Return all settings, then of the latest ones those that go on to the next rung, or to the end."""
        until = self.rungs[self._asked] if self._asked < len(self.rungs) else None
        self._asked += 1
        if not history:
            first = super().propose(history)
            return first and Proposal(first.settings, until=until)
        latest = [trial for trial in history if trial.is_latest]
        goal = self.swept.sweep.metric.goal
        best = [
            trial
            for own in by_problem(latest)
            for trial in ranked(own, goal)[: survivors(len(own), self.factor)]
        ]
        return Proposal(promoted=sorted(best, key=lambda trial: trial.number), until=until)

    def outline(self, settings: int) -> list[tuple[int, int | None]]:
        """Return how many settings come to each rung, at most."""
        found: list[tuple[int, int | None]] = []
        for step in self.rungs:
            if settings > 1:
                found.append((settings, step))
                settings = survivors(settings, self.factor)
        return [*found, (settings, None)]

    @property
    def basis(self) -> Any:
        """The factor and the rungs."""
        return [self.factor, self.rungs]


def ranked(trials: Sequence[Candidate], goal: str) -> list[Candidate]:
    """Return those that have a score, the best first, and of equal ones those that the plan has first."""
    sign = -1 if goal == "maximize" else 1
    scored = [trial for trial in trials if trial.score is not None]
    return sorted(scored, key=lambda trial: sign * (trial.score or 0.0))


def by_problem(trials: Iterable[Candidate]) -> list[list[Candidate]]:
    """Return the settings of each problem."""
    found: dict[str, list[Candidate]] = {}
    for trial in trials:
        found.setdefault(trial.problem, []).append(trial)
    return list(found.values())


def survivors(settings: int, factor: int) -> int:
    """Return how many settings of a problem go on from a rung, at most."""
    return max(1, settings // factor)
