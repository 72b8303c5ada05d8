"""Settings that Optuna asks for, a generation at a time.

The study lives in memory. Asked and told the same, it is the same again: nothing of it has to be stored.
"""

import itertools
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np

from optrun.config.sweep.resolve import SweepConfig
from optrun.errors import ConfigError, MissingExtraError, install
from optrun.registry import PositiveInt
from optrun.sweeps.methods.method import Candidate, Method, Proposal
from optrun.sweeps.plan.spaces import Dimension, Setting, Space, joined, quantile


class Optuna(Method):
    """Settings that Optuna chooses, a batch at a time, given how the earlier ones did.

    Akiba et al. (2019), arXiv:1907.10902. Needs Optuna.
    """

    grows = True

    def __init__(
        self,
        swept: SweepConfig,
        /,
        *,
        sampler: Annotated[
            Literal["tpe", "cmaes"], "Tree-structured Parzen Estimator, or CMA-ES for numbers alone"
        ] = "tpe",
        batch: Annotated[PositiveInt, "settings that are chosen together, before any of them has run"] = 16,
    ) -> None:
        super().__init__(swept)
        if len(_problems(swept, self.spaces)) > 1:
            raise ConfigError(
                f"optuna learns from one metric, {swept.sweep.metric.name}, and that of one problem is no better or "
                "worse than that of another: sweep each problem alone, or choose another method (random, with cross)"
            )
        self._sampler = sampler
        self._batch = batch
        self._trials = swept.sweep.trials or 0
        self._left = self._trials
        self._asked: list[Any] = []

    @cached_property
    def study(self) -> Any:
        """Optuna's study; MissingExtraError without Optuna."""
        optuna, sweep = _optuna(), self.swept.sweep
        return optuna.create_study(
            sampler=_sampler(optuna, self._sampler, sweep.seed), direction=sweep.metric.goal
        )

    def propose(self, history: Sequence[Candidate]) -> Proposal | None:
        """Return the settings of the next generation; None where all trials have been asked for."""
        latest = [trial for trial in history if trial.is_latest]
        others = len(latest) - len(self._asked)
        for asked, trial in zip(self._asked, latest[others:], strict=True):
            self._tell(asked, trial)
        for trial in latest[:others]:
            self._add(trial)
        self._asked = [self.study.ask() for _ in range(min(self._batch, self._left))]
        self._left -= len(self._asked)
        return Proposal([_asked(each, self.spaces) for each in self._asked]) if self._asked else None

    def total(self) -> int:
        """Return how many trials there are."""
        return self._trials

    def outline(self, settings: int) -> list[tuple[int, int | None]]:
        """Return how many settings each generation has."""
        rest = range(self._batch, self._trials, self._batch)
        return [(settings, None), *((min(self._batch, self._trials - done), None) for done in rest)]

    def _tell(self, asked: Any, trial: Candidate) -> None:
        if trial.failed:
            self.study.tell(asked, state=_optuna().trial.TrialState.FAIL)
            return
        worst = math.inf if self.swept.sweep.metric.goal == "minimize" else -math.inf
        self.study.tell(asked, worst if trial.score is None else trial.score)

    def _add(self, trial: Candidate) -> None:
        """Tell of a setting that was not asked for, where a trial might have asked for it."""
        answers = (_answers(self.spaces, space, trial.setting) for space in self.spaces)
        found = next(filter(None, answers), None)
        if found is not None and not trial.failed:
            self.study.enqueue_trial(found)
            asked = self.study.ask()
            _asked(asked, self.spaces)
            self._tell(asked, trial)


def _problems(swept: SweepConfig, spaces: Sequence[Space]) -> set[str]:
    """Return the names and data of the problems among which trials choose."""
    paths = {"problem", "problem.name", "problem.data"}
    found, own = set(), swept.to_dict().get("problem")
    for space in spaces:
        parts = [each.choices for each in space.dimensions if paths.intersection(each.paths)]
        for chosen in itertools.product(*parts):
            values = {path: node.plain() for path, node in joined(chosen).items() if path in paths}
            block = values.get("problem", own)
            block = block if isinstance(block, dict) else {"name": block}
            found.add(repr([values.get(f"problem.{key}", block.get(key)) for key in ("name", "data")]))
    return found


def _sampler(optuna: Any, name: str, seed: int) -> Any:
    seed %= 2**32
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    try:
        import cmaes  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"Optuna's CMA-ES needs a package: {install('cmaes>=0.11')}") from error
    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _asked(trial: Any, spaces: Sequence[Space]) -> Setting:
    space = spaces[0 if len(spaces) == 1 else trial.suggest_categorical("space", range(len(spaces)))]
    # One parameter may have other values in another space.
    prefix = "".join(f"{each}:" for each in space.index)
    return joined(_chosen(trial, f"{prefix}{each.name}", each) for each in space.dimensions)


def _answers(spaces: Sequence[Space], space: Space, setting: Setting) -> dict[str, Any] | None:
    """Return what a trial would be told to ask for a setting of a space; None where it is none of the space."""
    prefix = "".join(f"{each}:" for each in space.index)
    if set(setting) != {path for each in space.dimensions for path in each.paths}:
        return None
    answers = {f"{prefix}{each.name}": _answer(each, setting) for each in space.dimensions}
    if None in answers.values():
        return None
    return answers if len(spaces) == 1 else {"space": spaces.index(space), **answers}


def _answer(dimension: Dimension, setting: Setting) -> float | None:
    """Return the number that stands for the values that a setting has in a dimension; None where it has no such."""
    wanted = {path: setting[path].plain() for path in dimension.paths}
    if not dimension.is_continuous:
        for index, choice in enumerate(dimension.choices):
            if {path: node.plain() for path, node in choice.items()} == wanted:
                return index
        return None
    assert dimension.axis is not None
    first, last = dimension.axis.arguments[:2]
    (value,) = wanted.values()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if dimension.axis.kind == "normal":
        return quantile(dimension.axis, value)
    is_whole = dimension.axis.kind not in ("int", "logint") or value == int(value)
    return value if first <= value <= last and is_whole else None


def _chosen(trial: Any, name: str, dimension: Dimension) -> Setting:
    """Return what a trial asks for: a number, the index of a value, or the quantile of a normal distribution."""
    axis = dimension.axis
    if not dimension.is_continuous:
        if axis is None or not axis.spaced:
            index: int = trial.suggest_categorical(name, range(dimension.size))
        else:
            index = trial.suggest_int(name, 0, dimension.size - 1)
        return dimension.choices[index]
    assert axis is not None
    first, last = axis.arguments[:2]
    match axis.kind:
        case "uniform" | "loguniform":
            value = trial.suggest_float(name, first, last, log=axis.kind == "loguniform")
        case "int" | "logint":
            value = trial.suggest_int(name, first, last, log=axis.kind == "logint")
        case _:
            return dimension.at(np.array([trial.suggest_float(name, 0.0, 1.0)]))[0]
    return dimension.valued(np.array([value]))[0]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(f"method: optuna needs Optuna: {install('optuna>=4')}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
