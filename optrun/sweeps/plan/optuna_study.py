"""Settings that Optuna asks for, a generation at a time.

The study lives in memory. Asked and told the same, it is the same again: nothing of it has to be stored.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from optrun.config.sweep.model import Optuna
from optrun.config.sweep.resolve import SweepConfig
from optrun.errors import MissingExtraError
from optrun.sweeps.plan.spaces import Dimension, Setting, Space, joined, quantile, spaces_of

INSTALL = "python -m pip install 'optuna>=4'"


class Study:
    """Optuna's study of a sweep: asks for generations of settings, and is told their scores.

    Raises MissingExtraError without Optuna.
    """

    def __init__(self, swept: SweepConfig) -> None:
        self._optuna = _optuna()
        sweep = swept.sweep
        options = sweep.optuna or Optuna()
        self._study = self._optuna.create_study(
            sampler=_sampler(self._optuna, options, sweep.seed), direction=sweep.metric.goal
        )
        self._spaces = spaces_of(swept)
        self._batch = options.batch
        self._left = sweep.trials or 0
        self._trials: list[Any] = []

    def ask(self) -> list[Setting]:
        """Return the settings of the next generation; none where all trials have been asked for."""
        self._trials = [self._study.ask() for _ in range(min(self._batch, self._left))]
        self._left -= len(self._trials)
        return [_asked(trial, self._spaces) for trial in self._trials]

    def tell(self, scores: Sequence[float | None]) -> None:
        """Take in the scores of the generation, an infinite one where it diverged; None is that of a failure."""
        for trial, score in zip(self._trials, scores, strict=True):
            if score is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, score)

    def add(self, settings: Sequence[Setting], scores: Sequence[float | None]) -> None:
        """Take in the scores of settings that were not asked for, where a trial might have asked for them."""
        for setting, score in zip(settings, scores, strict=True):
            answers = next(
                filter(None, (_answers(self._spaces, space, setting) for space in self._spaces)), None
            )
            if answers is None or score is None:
                continue
            self._study.enqueue_trial(answers)
            trial = self._study.ask()
            _asked(trial, self._spaces)
            self._study.tell(trial, score)


def _sampler(optuna: Any, options: Optuna, seed: int) -> Any:
    seed %= 2**32
    if options.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    try:
        import cmaes  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "Optuna's CMA-ES needs a package: python -m pip install 'cmaes>=0.11'"
        ) from error
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
        raise MissingExtraError(f"method: optuna needs Optuna: {INSTALL}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
