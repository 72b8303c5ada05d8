"""The figures that a run ends with, known before it starts: what is expected or ranked by may be none of them."""

import re
from collections.abc import Collection, Sequence

import numpy as np

from optrun.config import RunConfig
from optrun.config.goal import TEST, VALIDATION, of_data
from optrun.errors import ConfigError, PluginError, did_you_mean
from optrun.plugin_code import guarded
from optrun.registry import metrics, prediction_metrics, problems
from optrun.store.types import STEPS_TO_TARGET, TIME_TO_TARGET, TO_TARGET
from optrun.training.curve_figures import CurveFigure, names_of
from optrun.training.evaluator import AVERAGE, Evaluator
from optrun.training.pack import Pack
from optrun.training.schedule_paths import observed_figures

_PARTS = {VALIDATION: ("validation", "validation_fraction"), TEST: ("test", "test_fraction")}
_OF_PART = re.compile(rf"^({AVERAGE}_)?(train|val|test)_")

FINAL_LOSS = "final_loss"


def pack_of(config: RunConfig, *, at_start: bool = True) -> Pack:
    """Return the pack of a single run; ConfigError, as from `Pack`, also for a figure that no run of it measures."""
    pack = Pack([config], at_start=at_start)
    if asks_for_figures(config):
        try:
            with guarded(config.problem.name):
                figures = figures_of(pack)
        except PluginError:
            return pack  # the run says where it fails
        check_expected(config, figures)
    return pack


def asks_for_figures(config: RunConfig) -> bool:
    """Return whether a config names figures that its run may not measure."""
    is_observed = config.stop.metric is not None or any(observed_figures(config))
    return is_observed or bool(config.expect.keys() - {FINAL_LOSS})


def figures_of(pack: Pack) -> list[str]:
    """Return the names of the figures that runs of a pack end with."""
    with np.errstate(all="ignore"):
        return [FINAL_LOSS if name == "loss" else name for name in Evaluator(pack).current()]


def check_expected(config: RunConfig, figures: Sequence[str]) -> None:
    """Raise ConfigError where a config names a figure that its run does not have: expected, observed, to stop by."""
    for name in config.expect:
        if unexpected := not_expected(config, name, figures):
            raise ConfigError(unexpected, field=f"expect.{name}")
    evaluated = ["loss" if name == FINAL_LOSS else name for name in figures]
    for path, schedule, name in observed_figures(config):
        if name not in evaluated:
            raise ConfigError(no_figure(config, name, evaluated), field=f"{path}.metric")
        if config.evaluate.every is None:
            said = f"{schedule.name} observes {name} at evaluations during the run: set evaluate.every"
            raise ConfigError(said, field=f"{path}.metric")
    if config.stop.metric is not None and config.stop.metric not in evaluated:
        raise ConfigError(no_figure(config, config.stop.metric, evaluated), field="stop.metric")


def not_expected(config: RunConfig, name: str, figures: Sequence[str]) -> str:
    """Return why nothing can be expected of a figure of a run that ends with these; empty if something can."""
    if name == TIME_TO_TARGET:
        return f"{name} is a measured time, and no result: expect {STEPS_TO_TARGET}"
    return missing_figure(config, name, figures)


def missing_figure(config: RunConfig, name: str, figures: Sequence[str]) -> str:
    """Return why a run that ends with these figures has none of this name; empty if it has one."""
    if name in figures:
        return ""
    if name in TO_TARGET:
        said = f"{name} is a figure of runs that end at a loss: set stop.target"
        return "" if config.stop.target is not None else said
    evaluated = ["loss" if each == FINAL_LOSS else each for each in figures]
    figure = CurveFigure.named(name)
    if figure is None or not set(figure.columns) <= set(evaluated):
        return no_figure(config, name, figures, [*names_of(evaluated), *TO_TARGET])
    if config.evaluate.every is None:
        return f"{name} is a figure of evaluations during the run: set evaluate.every"
    return ""


def lacking_part(name: str, figures: Collection[str]) -> str:
    """Return which samples a figure needs if none of these is of such; empty if that is not why it is missing."""
    known = {data for each in figures for data in of_data(each)}
    of = next((data for data in _PARTS if data in of_data(name) - known), None)
    return "" if of is None else f" It needs {_PARTS[of][0]} samples: set problem.{_PARTS[of][1]}."


def no_figure(config: RunConfig, name: str, figures: Sequence[str], of_curves: Sequence[str] = ()) -> str:
    """Return that a run does not end with a figure, with those that it ends with, and how to have it.

    ``of_curves`` are others that may be meant.
    """
    averaged = [f"{AVERAGE}_{'loss' if each == FINAL_LOSS else each}" for each in figures]
    measured = _OF_PART.sub("", name)
    if (name in metrics and metrics.find(name).is_evaluated) or (
        measured != name
        and any(_OF_PART.match(each) for each in figures)  # it predicts something
        and measured in prediction_metrics
        and measured not in (config.evaluate.metrics or ())
    ):
        hint = f" `evaluate: {{metrics: [{measured}]}}` measures it."
    elif name in averaged and config.average is None:
        hint = " `average: swa` or `average: ema` keeps an average."
    else:
        hint = did_you_mean(name, [*figures, *of_curves])
    has_samples = "validation_fraction" in problems.find(config.problem.name).options()
    if has_samples and (part := lacking_part(name, figures)):
        # What is similar is of other samples, and to select by those is another thing.
        has_split = config.problem.options.get("split") is not None
        part = " problem.split gives it no samples." if has_split else part
        hint = part + (hint if hint.startswith(" `") else "")
    return f"{config.problem.name} has no figure {name!r}: {', '.join(figures)}.{hint}"
