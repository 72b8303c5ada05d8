"""Notes about a config before it runs: what was inferred from data, and which options have no effect."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.config.goal import TEST, VALIDATION, has_usual_goal, of_data, on_data, usual_goal
from optrun.config.model.components import Component
from optrun.config.model.options import options_within
from optrun.errors import counted
from optrun.fallbacks import Fallback
from optrun.intervals import INTERVAL
from optrun.problems import Problem
from optrun.registry import RUN_SEED, TRANSFORMS, Option, optimizers, problems, schedulers
from optrun.schedulers.warmup import WARMUP
from optrun.store import Event
from optrun.store.event_names import INFERRED
from optrun.training.build import scheduled_steps
from optrun.training.composition_notes import idle_decay, idle_parts, idle_rule, idle_schedule_options
from optrun.training.pack import Pack
from optrun.training.run_seed import follows_seed
from optrun.training.schedule_paths import observed_figures, schedules_by_path

VANISHING = 1e-3
"""Relative to the highest learning rate, a learning rate that has practically no effect."""

SAMPLED_STEPS = 1 << 12
"""At most so many steps of a schedule are examined."""

LONG_FRACTION = 0.1
"""Fraction of a run without effective learning rate that is worth a note."""


def inferred(pack: Pack) -> list[str]:
    """Return what was inferred from the data and what in them may be a mistake, one line each."""
    first = [pack.problem.inferred] if pack.problem.inferred else []
    return first + [f"note: {each}" for each in pack.problem.notes]


def inferred_lines(events: Iterable[Event]) -> list[str]:
    """Return the distinct lines about inferred properties that the events of a store have recorded."""
    lines = [each.details.get("lines") for each in events if each.kind == INFERRED]
    return list(dict.fromkeys(str(line) for each in lines if isinstance(each, list) for line in each))


def ineffective_options(pack: Pack, varied: Collection[str] = ()) -> list[str]:
    """Return notes about options of the first lane without effect; ``varied`` are the paths that a sweep varies."""
    config = pack.configs[0]
    return [
        f"note: {each}"
        for each in (
            *_unread_options(pack, config, varied),
            *_idle_schedules(pack, config, varied),
            *_late_times(pack, config),
            *_rare_times(pack, config),
            *_single_steps(pack, config),
            *_idle_seeds(pack, config, varied),
            *_reversed_modes(config),
            *idle_parts(pack, config, varied),
            *idle_decay(pack, config, varied),
            *idle_rule(pack, config, varied),
            *idle_schedule_options(pack, config, varied),
            *_restored_by_test(config),
        )
    ]


def selected_on_test(metric: str, config: RunConfig) -> str:
    """Return a note if settings are selected by a figure of test samples, given a run; empty if there is none."""
    better = _on_validation(metric, config)
    return f"note: settings are selected by {metric}, on the test data: give {better}" if better else ""


def _on_validation(metric: str, config: RunConfig) -> str:
    """Return what to give for a figure of validation samples; empty if this one is of no test samples."""
    options = problems.find(config.problem.name).options()
    if TEST not in of_data(metric) or "validation_fraction" not in options:
        return ""
    better = (
        f"metric {'_at_best_'.join(on_data(part, TEST, VALIDATION) for part in metric.split('_at_best_'))}"
    )
    chosen = config.problem.options
    is_drawn = not chosen.get("validation_fraction") and chosen.get("split") is None
    return f"problem.validation_fraction and {better}" if is_drawn else better


def seed_is_idle(pack: Pack, config: RunConfig) -> str:
    """Return why the seed of a run has no effect; empty if it has one."""
    problem = pack.problem
    if pack.optimizer.draws:
        return ""
    drawn = [purpose for purpose, (draws, _) in _DRAWS.items() if draws(problem)]
    follows = any(getattr(config.seeds, purpose) == RUN_SEED for purpose in drawn)
    if follows or follows_seed(config.problem.model_dump()):
        return ""
    if not drawn:
        return f"{config.problem.name} draws nothing, so that seeds have no effect"
    given = " and ".join(f"seeds.{purpose}" for purpose in drawn)
    return f"{given} {'are' if len(drawn) > 1 else 'is'} set, so that the seed of the run has no effect"


def draws_start(problem: Problem) -> bool:
    """Return whether the initial parameters depend on a seed."""
    one, other = (problem.initial(seed) for seed in (0, 1))
    return any(not np.array_equal(one[name], other[name]) for name in one)


def draws_batches(problem: Problem) -> bool:
    """Return whether the first batch depends on a seed."""
    first, second = (problem.batches([seed])[0] for seed in (0, 1))
    if first is None and second is None:
        return False
    to_host = problem.arrays.to_host
    with Fallback("batches of a plugin's own kind are taken to differ between seeds", TypeError, ValueError):
        return not np.array_equal(to_host(first), to_host(second))
    return True


_DRAWS = {
    "init": (draws_start, "starts from a fixed point"),
    "data": (draws_batches, "draws no batches and no noise"),
}
"""By purpose of a seed: whether a problem draws it, and what is true of one that does not."""


def _idle_seeds(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield seeds of what the problem does not draw."""
    for purpose, (draws, instead) in _DRAWS.items():
        path = f"seeds.{purpose}"
        is_set = path in varied or getattr(config.seeds, purpose) != RUN_SEED
        if is_set and not draws(pack.problem):
            yield f"{path} has no effect: {config.problem.name} {instead}"


def _unread_options(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield hyperparameters that the optimizer does not read given the others, such as dampening without momentum."""
    name, chosen = config.optimizer.name, config.optimizer.options
    known = options_within(optimizers.find(name), chosen)
    floats = {each: option for each, option in known.items() if option.is_float}
    values = chosen | {
        f"{kind}.{i}.{key}": value
        for kind in TRANSFORMS
        for i, transform in enumerate(chosen.get(kind) or ())
        for key, value in transform.options.items()
    }
    paths = {path for path in varied if path.partition(".")[0] == "optimizer"}
    open = {path.partition(".")[2] for path in paths}
    if not open <= floats.keys():  # a varied option that is no float may change what is read
        return
    for each, option in floats.items():
        is_set = each in open or (each in values and values[each] != option.default)
        if is_set and not pack.optimizer.is_read(each, open):
            yield f"optimizer.{each} has no effect: with the other options {name} does not read it"


def _idle_schedules(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
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
        tables = [_lane(values) for _, of, values in scheduler.values_at(steps) if of == name]
        starts = [np.ravel(group[f"initial_{name}"])[0] for group, of, _ in scheduler.values_at(steps[:1])]
        if all((table == start).all() for table, start in zip(tables, starts, strict=False)):
            if not any(starts):
                yield f"{path} starts from optimizer.{name}, which is 0, and leaves it 0: give it a value"
            else:
                yield f"{path}: {kind} changes nothing within the run's {counted(pack.steps, 'step')}"
        elif name == "lr":
            yield from _vanished(tables[0], steps, pack.steps, kind)


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


def _late_times(pack: Pack, config: RunConfig) -> Iterator[str]:
    """Yield times beyond the end of the run."""
    per_epoch = pack.problem.steps_per_epoch
    for path, schedule in schedules_by_path(config).items():
        yield from _beyond_end(schedule, path, pack.steps, per_epoch, "step")


def _rare_times(pack: Pack, config: RunConfig) -> Iterator[str]:
    """Yield numbers of steps that the run is too short for."""
    steps, last = pack.steps, pack.steps - 1
    for path, every, most in (
        ("stop.patience", config.stop.patience, last),
        ("record.every", config.record.every, max(last, 1)),
        ("record.params.every", getattr(config.record.params, "every", None), max(last, 1)),
        ("evaluate.every", config.evaluate.every, steps),
        ("checkpoint.every", config.checkpoint.every, steps),
    ):
        if isinstance(every, int) and every > most:
            yield f"{path}: {every:,} is never reached in the run's {counted(steps, 'step')}"
    kept = config.record.params
    for i, step in enumerate(kept if isinstance(kept, list) else ()):
        if step > steps:
            yield f"record.params.{i}: {step:,} is never reached in the run's {counted(steps, 'step')}"


def _single_steps(pack: Pack, config: RunConfig) -> Iterator[str]:
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


def _reversed_modes(config: RunConfig) -> Iterator[str]:
    """Yield where the worse end of a figure is taken for the better one: the lowest accuracy, the highest loss."""
    observed = [
        (f"{path}.mode", schedule.options.get("mode", "min"), ("min", "max"), name)
        for path, schedule, name in observed_figures(config)
    ]
    if config.stop.metric is not None and config.stop.goal is not None:
        observed.append(("stop.goal", config.stop.goal, ("minimize", "maximize"), config.stop.metric))
    for path, given, ends, name in observed:
        usual = ends[usual_goal(name) == "maximize"]
        if has_usual_goal(name) and given != usual:
            end = "lowest" if given == ends[0] else "highest"
            key = path.rpartition(".")[2]
            yield f"{path}: {given} takes the {end} {name} for the best: give {key}: {usual}"


def _restored_by_test(config: RunConfig) -> Iterator[str]:
    """Yield that the parameters of a run are chosen on the data that report it, if they are."""
    name = config.stop.metric
    if config.stop.restore_best and name is not None and (better := _on_validation(name, config)):
        yield f"stop.restore_best chooses by {name}, on the test data: give {better}"


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
    return np.array([np.ravel(value)[0] for value in values])
