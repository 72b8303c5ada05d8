"""The Python API of lr-find: the learning rates that train, and the one to take."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from optrun.analysis.leaderboard import Standing, leaderboard
from optrun.analysis.learning_rates import FoundRates, Search, first_ends
from optrun.analysis.sensitivity import is_number
from optrun.api.arguments import check_texts
from optrun.api.html import html_table
from optrun.api.sweeps import check_ended, sweep
from optrun.config import RunConfig, from_mapping, load
from optrun.config.goal import VALIDATION
from optrun.config.model.options import SCHEDULES
from optrun.config.overrides import path_of
from optrun.config.paths import steps_of
from optrun.config.sweep.model import Metric
from optrun.config.yaml.errors import ConfigErrors
from optrun.config.yaml.writer import rounded
from optrun.errors import ConfigError, PluginError, brief, did_you_mean, string_list
from optrun.plugin_code import guarded
from optrun.plugins import load_plugins
from optrun.problems import Problem
from optrun.registry import problems, schedulers
from optrun.training.build import scheduled_steps
from optrun.training.config_notes import seed_is_idle
from optrun.training.evaluator import Evaluator
from optrun.training.figures import FINAL_LOSS, missing_figure, pack_of
from optrun.training.pack import Pack
from optrun.training.schedule_paths import observed_figures, schedules_by_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optrun.plots.look import LookOptions

LR = "optimizer.lr"
VALIDATION_LOSS = f"{VALIDATION}loss"
LOOKED_AT = 1000
"""Steps at which it is looked whether a schedule depends on the learning rate."""


class LearningRates(FoundRates):
    """The learning rates that train, which draw themselves."""

    def plot(self, **look: Unpack["LookOptions"]) -> "Figure":
        """Return a Matplotlib figure of the metric over the learning rate, with the range and divergence marked.

        ``look`` is that of `Run.plot`. Raises MissingExtraError without Matplotlib.
        """
        from optrun.plots.learning_rate_figure import learning_rate_figure
        from optrun.plots.look import Look

        return learning_rate_figure(self, look=Look(**look))

    def _repr_html_(self) -> str:
        rows = [
            [each.rate, each.median, each.lower, each.upper, each.seeds, each.diverged]
            for each in self.outcomes
        ]
        header = (self.parameter, f"median {self.metric}", "from", "to", "seeds", "diverged")
        return html_table(header, rows, str(self))


def lr_find(
    config: Mapping[str, Any] | str | Path,
    *,
    parameter: str | None = None,
    seeds: int = 3,
    steps: int | None = None,
    metric: str | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
) -> LearningRates:
    """Run a config at many learning rates, which are not saved, and return which train, and which one to take.

    Each run has one rate from its beginning to its end, with the config's own schedule and number of steps, or
    ``steps``. The rates lie around that of the config, in a grid that widens where the best one lies at its edge, and
    has more rates and ``seeds`` seeds near the best one. ``parameter`` is the path of another number than
    `optimizer.lr`, such as `scheduler.max_lr`; ``metric`` a figure of the summary, by default that of the validation
    loss, where the problem has such samples, and the final loss otherwise.

    A loss below the machine epsilon of the dtype times the initial one is taken for 0: where the best loss is so low it
    does not tell rates apart, and the lowest of those that reach it is recommended.

    Raises ConfigError where the rate has no effect, for fewer than one seed, for an unknown metric, and for a parameter
    that may not be a hundredth and a hundred times what it is; RunFailedError if a run fails or is interrupted.
    """
    load_plugins(plugins)
    for name, value in (("seeds", seeds), ("steps", 1 if steps is None else steps)):
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name} must be a positive integer, not {brief(value)}", field=name)
    check_texts(metric=metric, parameter=parameter)
    string_list("overrides", overrides)
    if not isinstance(config, (Mapping, str, os.PathLike)):
        raise ConfigError(f"lr_find takes a mapping or the path of a YAML file, not {type(config).__name__}")
    if steps is not None:
        overrides = [*overrides, f"steps={steps}", "epochs=null"]
    alone = [*overrides, "sweep=null", "map=null"]
    chosen = _loaded(config, alone)
    pack = pack_of(chosen)
    path = parameter or LR
    if parameter is None:
        _check_matters(chosen, pack)
    given = _number_at(chosen, parameter)
    if seed_is_idle(pack, chosen):
        seeds = 1
    at_start = _figures_at_start(pack, chosen)
    if metric is not None and at_start and (why := missing_figure(chosen, metric, [*at_start])):
        raise ConfigError(f"--metric {metric}: {why}", field="metric")
    usual = VALIDATION_LOSS if VALIDATION_LOSS in at_start else FINAL_LOSS
    runs = _Runs(config, overrides, path, metric or usual, chosen, at_start, pack.problem)
    maximize = Metric(name=runs.metric).goal == "maximize"
    for rate in first_ends(given):
        if why := runs.refusal(rate):
            raise ConfigError(
                f"--parameter {path}: {why}, and values from a hundredth to a hundred times {given:.6g} are tried",
                field="parameter",
            )
    tried = Search(
        runs,
        given,
        seeds,
        maximize,
        lambda: runs.initial,
        rounding=lambda: runs.rounding,
        allows=lambda rate: not runs.refusal(rate),
    ).outcomes()
    medians = {each.median for each in tried}
    if len(medians) == 1 and None not in medians:
        raise ConfigError(f"{path} changes nothing: {runs.metric} is {medians.pop():.6g} at every value")
    found = LearningRates(
        path, runs.metric, maximize, seeds, given, runs.initial, tried, rounding=runs.rounding
    )
    cautions = [*_cautions(chosen, path)]
    if found.is_rounding:
        cautions.append(_what_tells_more(chosen, runs.metric, at_start))
    if metric is None and runs.metric != FINAL_LOSS:
        cautions.append(f"{runs.metric} is taken, since the problem has a validation part, not {FINAL_LOSS}")
    if found.is_at_edge:
        cautions.append("the range reaches the end of what was tried")
    return replace(found, cautions=cautions)


class _Runs:
    """Runs of a config at given rates, of which nothing is kept but how they ended."""

    def __init__(
        self,
        config: Mapping[str, Any] | str | Path,
        overrides: Sequence[str],
        path: str,
        metric: str,
        chosen: RunConfig,
        at_start: Mapping[str, float],
        problem: Problem,
    ) -> None:
        self._config, self._path, self.metric = config, path, metric
        # The path is set by the rates; its value in an override is the one around which these lie.
        others = [text for text in overrides if path_of(text) != path]
        self._overrides = [*others, "map=null", "record.every=null", "checkpoint.every=null"]
        self._precision = float(np.finfo(chosen.dtype).eps)
        self._problem = problem if path.partition(".")[0] in ("optimizer", "scheduler", SCHEDULES) else None
        """That of all rates, where they are no part of it."""
        watched = chosen.stop.metric is not None or chosen.stop.restore_best or any(observed_figures(chosen))
        if not watched and metric in {FINAL_LOSS, *at_start}:
            self._overrides.append("evaluate.every=null")
        self.initial = None if metric == FINAL_LOSS or not metric.endswith("loss") else at_start.get(metric)
        """The metric before the first step, where it is a loss; the final loss is that of a batch, known from a run."""

    @property
    def rounding(self) -> float | None:
        """Up to where the metric is 0 but for rounding: the machine epsilon times its initial value.

        A log-softmax is rounded at this size. In float32 it is the finest tolerance with which convergence is usually
        tested, too, 10⁻⁷ of the initial loss (Moré and Wild 2009, doi:10.1137/080724083).
        """
        return None if self.initial is None else self._precision * abs(self.initial)

    def refusal(self, rate: float) -> str:
        """Return why a run of the config cannot have a rate; empty if it can."""
        alone = [*self._overrides, "sweep=null", f"{self._path}={rate!r}"]
        try:
            Pack([_loaded(self._config, alone)], problem=self._problem, at_start=False)
        except ConfigErrors as errors:
            return errors.issues[0].message
        except ConfigError as error:
            return str(error)
        return ""

    def __call__(self, rates: Sequence[float], seeds: int) -> list[Standing]:
        """Return how each rate ended, over so many seeds."""
        block = f"{{parameters: {{{self._path}: {list(rates)}}}, repeats: {seeds}, metric: {{name: {self.metric}}}}}"
        found = sweep(self._config, overrides=[*self._overrides, f"sweep={block}"], save=False)
        check_ended(found)
        if self.initial is None and self.metric == FINAL_LOSS:
            first = float(found.runs[0].curves["loss"][0])
            self.initial = first if np.isfinite(first) else None
        standings = leaderboard(found.ranking, found.states)
        return sorted(standings, key=lambda each: each.first)


def _figures_at_start(pack: Pack, config: RunConfig) -> dict[str, float]:
    """Return the figures of a run before its first step; none where a plugin fails, since the run says where."""
    try:
        with guarded(config.problem.name), np.errstate(all="ignore"):
            figures = {name: float(values[0]) for name, values in Evaluator(pack).current().items()}
    except PluginError:
        return {}
    return {FINAL_LOSS if name == "loss" else name: value for name, value in figures.items()}


def _what_tells_more(config: RunConfig, metric: str, figures: Collection[str]) -> str:
    """Return how to tell rates apart where a loss is rounding."""
    shorter = "fewer --steps tell more"
    if metric == VALIDATION_LOSS or "validation_fraction" not in problems.find(config.problem.name).options():
        return shorter
    if VALIDATION_LOSS in figures:
        return f"-m {VALIDATION_LOSS} tells more"
    return f"{VALIDATION_LOSS} tells more, with problem.validation_fraction=0.2; so do fewer --steps"


def _loaded(config: Mapping[str, Any] | str | Path, overrides: Sequence[str]) -> RunConfig:
    return from_mapping(config, overrides) if isinstance(config, Mapping) else load(config, overrides)


def _number_at(config: RunConfig, parameter: str | None) -> float:
    """Return the number at a path of a config, by default the learning rate, around which the rates lie."""
    path, whole = parameter or LR, config.to_dict()
    value: Any = whole
    for step in steps_of(path):
        inside = value.get(step) if isinstance(value, dict) else None
        value = (
            value[int(step)]
            if isinstance(value, list) and step.isdigit() and int(step) < len(value)
            else inside
        )
    if not is_number(value) or not value > 0:
        hint = did_you_mean(path, _numbers(whole, "")) if value is None else ""
        option = "" if parameter is None else "--parameter "
        said = f"{option}{path} is {brief(value)}: give it a positive number, around which rates are tried"
        raise ConfigError(f"{said}.{hint}" if hint else said, field=path)
    return float(value)


def _numbers(value: Any, path: str) -> Iterator[str]:
    """Yield the paths of the positive numbers of a config."""
    if isinstance(value, (dict, list)):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in inside:
            yield from _numbers(each, f"{path}.{key}" if path else str(key))
    elif is_number(value) and value > 0:
        yield path


def _check_matters(config: RunConfig, pack: Pack) -> None:
    """Raise ConfigError, with what to do instead, where the learning rate means nothing, or something else."""
    name = config.optimizer.name
    for path, schedule in schedules_by_path(config).items():
        if path != "scheduler" and path != "schedules.lr":
            continue
        bound = [each for each in pack.schedulers if each.hyperparameter == "lr"]
        if any("lr" in each.independent(scheduled_steps(pack.steps, LOOKED_AT)) for each in bound):
            own = [
                f"{path}.{option.name}"
                for option in schedulers.find(schedule.name).options().values()
                if option.unit == "rate"
            ]
            give = f": give --parameter {own[-1]}" if own else ", whose numbers --parameter names"
            raise ConfigError(f"{schedule.name} sets the learning rate itself{give}", field=LR)
    if pack.optimizer.finds_rate:
        said = f"{name} finds the learning rate itself, and lr is a factor of it that is to stay 1"
        raise ConfigError(f"{said}: --parameter {LR} tries others all the same", field=LR)
    if not pack.optimizer.is_read("lr", {"lr"}):
        raise ConfigError(f"{name} does not read lr, so that there is none to find", field=LR)


def _cautions(config: RunConfig, path: str) -> Iterator[str]:
    """Yield what the rates do not reach."""
    for i, group in enumerate(config.optimizer.param_groups):
        if path == LR and "lr" in group.options:
            lr = rounded(group.options["lr"], 4)
            yield f"optimizer.param_groups.{i} has a learning rate of its own, {lr}, in all runs"
