"""A config cut to a second or two, with its shape kept."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from optrun.config.model.components import Component
from optrun.config.model.durations import Duration
from optrun.config.model.run import RunConfig
from optrun.errors import counted
from optrun.registry import Option, Registry, averages, problems, schedulers

SMOKE_STEPS = 100
SMOKE_TIME = Duration("2s")


def smoke(config: RunConfig, steps: int) -> tuple[RunConfig, list[str]]:
    """Return a config of a hundred steps at most in place of ``steps``, and what was changed, in words.

    Whatever is counted in steps is cut by the same factor, down to 1: the horizons and milestones of schedulers,
    the start and the interval of an average, the intervals of recording, evaluation and checkpoints. Hyperparameters
    stay. The run ends after two seconds whatever a step costs, but for want of a better loss never: so few steps are
    no reason to end. Nothing is expected of its result.
    """
    cut = min(SMOKE_STEPS, steps)
    part = cut / steps
    changes: dict[str, Any] = {
        "name": f"{config.name}-smoke",
        "steps": cut,
        "epochs": None,
        "problem": _shortened(config.problem, problems, part),
        "optimizer": config.optimizer.model_copy(
            update={
                "param_groups": [
                    group.model_copy(update={"schedules": _schedules(group.schedules, part)})
                    for group in config.optimizer.param_groups
                ]
            }
        ),
        "scheduler": config.scheduler and _shortened(config.scheduler, schedulers, part),
        "schedules": _schedules(config.schedules, part),
        "average": config.average and _shortened(config.average, averages, part),
        "record": _scaled(config.record, part, "every"),
        "evaluate": _scaled(config.evaluate, part, "every"),
        "checkpoint": _scaled(config.checkpoint, part, "every"),
        "stop": config.stop.model_copy(
            update={
                "patience": None,
                "metric": config.stop.metric if config.stop.target is not None else None,
                "time": _shorter(config.stop.time),
            }
        ),
        "expect": {},
    }
    done = [f"{counted(cut, 'step')} in place of {steps:,}"]
    if cut < steps:
        done.append("what counts steps is cut alike")
    done.append(f"at most {changes['stop'].time}")
    if config.stop.patience is not None:
        done.append("no patience")
    if config.expect:
        done.append("nothing is expected")
    return config.model_copy(update=changes), done


def _scaled(section: Any, part: float, key: str) -> Any:
    value = getattr(section, key)
    return section.model_copy(update={key: _steps(value, part)}) if isinstance(value, int) else section


def _steps(count: int, part: float) -> int:
    return ceil(count * part)


def _shorter(time: Duration | None) -> Duration:
    return SMOKE_TIME if time is None or time.seconds > SMOKE_TIME.seconds else time


def _schedules(schedules: Mapping[str, Component], part: float) -> dict[str, Component]:
    return {name: _shortened(each, schedulers, part) for name, each in schedules.items()}


def _shortened(component: Component, known: Registry[Any], part: float) -> Component:
    """Return a component whose options that count steps or epochs are cut, in its members, too."""
    declared: Mapping[str, Option] = known.find(component.name).options()
    options = {
        name: _shortened_option(value, known, part, bool(declared[name].unit))
        for name, value in component.options.items()
    }
    return component.model_copy(update={"options": options})


def _shortened_option(value: Any, known: Registry[Any], part: float, counts: bool) -> Any:
    if isinstance(value, Component):
        return _shortened(value, known, part)
    if isinstance(value, list):
        if counts:
            return _increasing(value, part)
        return [_shortened_option(each, known, part, counts) for each in value]
    return _steps(value, part) if counts and type(value) is int else value


def _increasing(milestones: Sequence[int], part: float) -> list[int]:
    """Return milestones cut alike that increase where they did."""
    cut: list[int] = []
    for milestone, before in zip(milestones, [None, *milestones], strict=False):
        least = cut[-1] + 1 if before is not None and milestone > before else 0
        cut.append(max(_steps(milestone, part), least))
    return cut
