"""Notes about the schedules of a config before it runs: what they leave without effect, and times beyond the end."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.config.model.components import Component
from optrun.errors import counted
from optrun.intervals import INTERVAL
from optrun.registry import Option, optimizers, schedulers
from optrun.schedulers.scheduler import LRScheduler
from optrun.schedulers.warmup import WARMUP
from optrun.training.build import CHECKED, scheduled_steps
from optrun.training.pack import Pack
from optrun.training.schedule_paths import schedules_by_path
from optrun.training.stacking import built

VANISHING = 1e-3
"""Relative to the highest learning rate, a learning rate that has practically no effect."""

SAMPLED_STEPS = 1 << 12
"""At so many steps a schedule is examined, and at the others if there it is found to be idle."""

LONG_FRACTION = 0.1
"""Fraction of a run without effective learning rate that is worth a note."""


def idle_schedules(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield schedules that change nothing, and hyperparameters that a schedule leaves without effect."""
    steps = scheduled_steps(pack.steps, SAMPLED_STEPS)
    for scheduler in pack.schedulers:
        if not scheduler.is_known_ahead:
            continue
        name, kind = scheduler.hyperparameter, type(scheduler).__name__
        path = "scheduler" if name == "lr" and config.scheduler else f"schedules.{name}"
        for free, groups in scheduler.independent(steps).items():
            for place, readers in _readers(pack, config, free, varied):
                if all(any(each is group for group in groups) for each in readers):
                    yield f"{place} has no effect: {kind} sets {free} itself"
        if scheduler.has_feedback or pack.steps < 2:
            continue
        notes = list(_of_values(scheduler, path, steps, pack.steps))
        if notes and len(steps) < pack.steps:  # a few steps in which a value is another one may be missed
            notes = list(_of_values(scheduler, path, scheduled_steps(pack.steps), pack.steps))
        yield from notes


def _of_values(scheduler: LRScheduler, path: str, steps: Array, length: int) -> Iterator[str]:
    """Yield that the values at the steps are the initial ones, or that the learning rate is practically zero."""
    name, kind = scheduler.hyperparameter, type(scheduler).__name__
    bound = [(group, _lane(values)) for group, of, values in scheduler.values_at(steps) if of == name]
    starts = [np.ravel(group[f"initial_{name}"])[0] for group, _ in bound]
    if all((values == start).all() for (_, values), start in zip(bound, starts, strict=True)):
        if not any(starts):
            yield f"{path} starts from optimizer.{name}, which is 0, and leaves it 0: give it a value"
        else:
            yield f"{path}: {kind} changes nothing within the run's {counted(length, 'step')}"
    elif name == "lr":
        yield from _vanished(bound[0][1], steps, length, kind)


def _readers(
    pack: Pack, config: RunConfig, name: str, varied: Collection[str]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield where a hyperparameter is set or varied, and which parameter groups read it there."""
    chosen, groups = config.optimizer, pack.optimizer.param_groups
    first = len(groups) - len(chosen.param_groups)
    readers, own = list(groups[:first]), []
    for i, (written, group) in enumerate(zip(chosen.param_groups, groups[first:], strict=True)):
        place = f"optimizer.param_groups.{i}.{name}"
        if name in written.options or place in varied:
            own.append((place, [group]))
        elif written.name is None:
            readers.append(group)
    place, options = f"optimizer.{name}", optimizers.find(chosen.name).options()
    is_set = name in options and chosen.options[name] != options[name].default
    if readers and (is_set or place in varied):
        yield place, readers
    yield from own


def _vanished(rates: Array, steps: Array, length: int, kind: str) -> Iterator[str]:
    """Yield a note if the learning rate is practically zero for the rest of the run."""
    differs = np.flatnonzero(rates != rates[-1])
    start = int(steps[differs[-1] + 1]) if len(differs) else 0
    is_long = length - start >= LONG_FRACTION * length and length - start > 1
    if is_long and abs(rates[-1]) <= VANISHING * np.abs(rates).max():
        yield f"{kind}: from step {start:,} of {length:,} on the learning rate stays at {rates[-1]:.3g}"


def late_times(pack: Pack, config: RunConfig) -> Iterator[str]:
    """Yield times beyond the end of the run."""
    per_epoch = pack.problem.steps_per_epoch
    for path, schedule in schedules_by_path(config).items():
        yield from _beyond_end(schedule, path, pack.steps, per_epoch, "step")


def single_steps(pack: Pack, config: RunConfig) -> Iterator[str]:
    """Yield what counts epochs although the problem has no data to go through."""
    if pack.problem.steps_per_epoch > 1 or pack.problem.inferred:
        return
    paths = ["epochs"] if config.epochs else []
    paths += [
        f"{path}.{INTERVAL.name}"
        for path, schedule in schedules_by_path(config).items()
        if schedule.options.get(INTERVAL.name) == "epoch"
    ]
    if paths:
        yield f"{' and '.join(paths)}: {config.problem.name} has no batches of data, so an epoch is one step"


def idle_schedule_options(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield options of schedules without which their values are the same in all steps of the run."""
    if pack.steps > CHECKED:
        return  # all steps are too many to compare, and a sample may miss the few in which an option counts
    compared = [scheduled_steps(pack.steps, SAMPLED_STEPS), scheduled_steps(pack.steps)]
    for path, chosen in schedules_by_path(config).items():
        options: Mapping[str, Option] = schedulers.find(chosen.name).options()
        if any(each.startswith(f"{path}.") for each in varied):
            continue
        for name, value in chosen.options.items():
            default = options[name].default
            is_number = type(value) in (int, float) and name != INTERVAL.name
            if not is_number or options[name].required or value == default:
                continue
            without = chosen.model_copy(update={"options": {**chosen.options, name: default}})
            if all(_are_equal(chosen, without, steps) for steps in compared):
                yield f"{path}.{name} has no effect on {chosen.name} with its other options"


def _are_equal(one: Component, other: Component, steps: Array) -> bool:
    """Whether two schedules are known to have the same values at the steps."""
    given, others = _values(one, steps), _values(other, steps)
    return given is not None and others is not None and all(map(np.array_equal, given, others))


def _values(chosen: Component, steps: Array) -> Sequence[Array] | None:
    """Return the values of a schedule from 1, and of its momentum; None where they are not known or it is refused."""
    options = {key: value for key, value in chosen.options.items() if key != INTERVAL.name}
    try:
        cls = schedulers.find(chosen.name)
        cls.validate_options({name: option.default for name, option in cls.options().items()} | options)
        schedule = built(chosen.model_copy(update={"options": options}))
        if not schedule.is_known_ahead or schedule.has_feedback:
            return None
        found = [schedule.at(steps, 1.0)]
        if (momentum := schedule.momentum()) is not None:
            found.append(momentum[1].at(steps, 1.0))
    except (
        Exception
    ):  # options that do not go together without one of them; the run says what a plugin raises
        return None
    return found


def _beyond_end(schedule: Component, path: str, left: int, per_epoch: int, unit: str) -> Iterator[str]:
    """Yield the times among a schedule's options that exceed its ``left`` remaining steps or epochs."""
    values: Mapping[str, Any] = schedule.options
    options: Mapping[str, Option] = schedulers.find(schedule.name).options()
    in_epochs = -(-left // per_epoch) if unit == "step" else left
    if values.get(INTERVAL.name) == "epoch":
        left, unit = in_epochs, "epoch"
    starts = next(
        (value for name, value in values.items() if options[name].unit and isinstance(value, list)), []
    )
    warmup = next((value for name, value in values.items() if options[name] is WARMUP), 0)
    if warmup > left:
        yield f"{path}.{WARMUP.name}: {warmup:,} is beyond the {counted(left, unit)} that the run has for it"
        return
    left -= warmup
    for name, value in values.items():
        if options[name] is WARMUP:
            continue
        most, of = (in_epochs, "epoch") if options[name].unit == "epochs" else (left, unit)
        for i, each in enumerate(value if isinstance(value, list) else [value]):
            # A phase that starts at the end of the run has no steps.
            if options[name].unit and type(each) is int and each + (value is starts) > most:
                place = f"{path}.{name}.{i}" if isinstance(value, list) else f"{path}.{name}"
                yield f"{place}: {each:,} is beyond the {counted(most, of)} that the run has for it"
            elif isinstance(each, Component):
                begins = starts[i - 1] if 0 < i <= len(starts) else 0
                if begins < left:
                    yield from _beyond_end(each, f"{path}.{name}.{i}", left - begins, per_epoch, unit)


def _lane(values: Any) -> Array:
    """Return the first lane's value at each step."""
    return np.array(values).reshape(len(values), -1)[:, 0]
