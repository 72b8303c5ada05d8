"""Build the parts of a pack from the configs of all its lanes."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.checks.scalars import MAX_WHOLE
from optrun.config import RunConfig
from optrun.config.model.components import Component
from optrun.errors import ConfigError, counted
from optrun.intervals import INTERVAL
from optrun.kernels import engine_named
from optrun.optim import Average, CurveMetric, Optimizer
from optrun.optim.param_group import matching, selected
from optrun.optim.transforms import composed
from optrun.plugin_code import guarded
from optrun.problems import Problem
from optrun.registry import (
    DECAY,
    TRANSFORMS,
    Registry,
    averages,
    metrics,
    optimizers,
    owner_of,
    prediction_metrics,
)
from optrun.schedulers import LRScheduler
from optrun.training.grid import LaneGrid, part_of, seeds_of
from optrun.training.memory import check_fits
from optrun.training.run_seed import follows_seed, init_seed, own_seed
from optrun.training.stacking import built

CHECKED = 1 << 20
"""At most so many evenly spaced steps of a schedule are checked in advance; the run checks the others as it goes."""

SHARED = (
    "steps",
    "epochs",
    "dtype",
    "backend",
    "engine",
    "record",
    "evaluate",
    "checkpoint",
    "stop",
)
"""Parts of a config that all lanes of a pack share; of the problem they share all but its numbers."""

Configs = Sequence[RunConfig]


def check_same(configs: Sequence[RunConfig]) -> None:
    """Raise ConfigError if configs differ in a part that all lanes of a pack share."""
    if isinstance(configs, LaneGrid):
        return  # which is made of such
    shared = attrgetter(*SHARED)  # comparing tuples skips identical objects
    first = shared(configs[0])
    for config in configs:
        if (own := shared(config)) != first:
            part = next(part for part, one, other in zip(SHARED, own, first, strict=True) if one != other)
            raise ConfigError(f"the runs of a pack differ in {part}", field=part)
    seed = configs[0].seed
    if any(config.seed != seed for config in configs) and follows_seed(configs[0].problem.model_dump()):
        raise ConfigError("the runs of a pack differ in the seed, which their problem follows", field="seed")
    rule = _rule(configs[0])
    if any(_rule(config) != rule for config in configs):
        raise ConfigError("the runs of a pack differ in the optimizer or its groups", field="optimizer")


def _rule(config: RunConfig) -> tuple[str, list[tuple[list[str], str | None]]]:
    return config.optimizer.name, [(group.params, group.name) for group in config.optimizer.param_groups]


def groups_of(configs: Configs, names: Collection[str]) -> list[dict[str, Any]]:
    """Return the parameter groups; first the group with the optimizer's own options, whose learning rate is `lr`."""
    chosen = configs[0].optimizer
    with section("optimizer", chosen.name):
        groups: list[dict[str, Any]] = [
            {"params": group.params}
            | ({"rule": _rule_of_group(chosen.name, group.name, index)} if group.name else {})
            | part_of(configs, lambda each, index=index: each.optimizer.param_groups[index].options)  # type: ignore[misc]
            for index, group in enumerate(chosen.param_groups)
        ]
        taken: set[str] = set()
        for index, group in enumerate(groups):
            place = f"param_groups.{index}.params"
            try:
                found = selected(group["params"], names, chosen.name)
            except ConfigError as error:
                raise ConfigError(str(error), field=place) from error
            if twice := [name for name in found if name in taken]:
                raise ConfigError(
                    f"{chosen.name}: {', '.join(map(repr, twice))} is in two groups", field=place
                )
            taken.update(found)
        rest = [name for name in names if name not in taken]
        return [{"params": rest}, *groups] if rest else groups


def _rule_of_group(name: str, other: str, index: int) -> type[Optimizer]:
    """Return the other rule that a group has; ConfigError, with the place of the one to blame, if it cannot."""
    own: type[Optimizer] = optimizers.find(name)
    rule: type[Optimizer] = optimizers.find(other)
    if rule is not own:
        try:
            own.check_beside(rule)
        except ConfigError as error:
            place = f"param_groups.{index}.name" if error.field == "rule" else error.field
            raise ConfigError(str(error), field=place) from error
    return rule


def parameters_of(
    configs: Configs, problem: Problem, groups: Sequence[Mapping[str, Any]], *, at_start: bool = True
) -> Parameters:
    """Return the initial parameters; unless ``at_start``, zeros, which use no memory until they are written."""
    with section("problem", configs[0].problem.name):
        shapes = problem.shapes
        size = sum(math.prod(shape) for shape in shapes.values())
        if not problem.arrays.is_on_device:
            width = np.dtype(problem.arrays.dtype).itemsize
            check_fits({_parameters(size): 2 * len(configs) * size * width})
        # The parameters of a group are contiguous, so that a group is one slice. Lanes are contiguous instead if there
        # are more lanes than elements.
        order = [name for group in groups for name in matching(group["params"], shapes)]
        params = Parameters(
            {name: shapes[name] for name in dict.fromkeys([*order, *shapes])},
            lanes=len(configs),
            arrays=problem.arrays,
            lane_fast=problem.lane_fast and len(configs) > size,
            inputs_first=problem.inputs_first,
            seeds=seeds_of(configs, own_seed),
        )
        if at_start:
            problem.begin(params, seeds_of(configs, init_seed))
        return params


def check_measured(config: RunConfig, problem: Problem) -> None:
    """Raise ConfigError where a metric of predictions, or of the distance to the minimum, does not suit the problem."""
    for i, name in enumerate(config.evaluate.metrics or ()):
        of_predictions = name in prediction_metrics
        if why := problem.unmeasured(name) if of_predictions else _unknown(metrics.find(name), problem):
            said = f"{name} does not suit {config.problem.name}, {why}"
            raise ConfigError(said, field=f"evaluate.metrics.{i}")


def _unknown(metric: type[CurveMetric], problem: Problem) -> str:
    """Return what a metric needs to know of the full objective that is not known; empty if there is nothing."""
    if "minimum" in metric.needs and problem.minimum is None:
        return f"whose minimum is not known{f': it is {problem.minimum_if}' if problem.minimum_if else ''}"
    return "whose minimizers are not known" if "minimizers" in metric.needs and not problem.minimizers else ""


def check_memory(params: Parameters, optimizer: Optimizer, average: Average | None, steps: int) -> None:
    """Raise OutOfMemoryError if the parameters, the optimizer state and the average exceed the memory."""
    if params.arrays.is_on_device:
        return
    name = type(optimizer).__name__
    with section("optimizer", name):
        parts = {
            _parameters(params.size): params.data.nbytes + params.grad.nbytes,
            f"the state of {name}": optimizer.state_bytes(steps),
            "their average": params.data.nbytes if average is not None else 0,
        }
    check_fits(parts)


def _parameters(size: int) -> str:
    return f"{size:,} parameters and their gradients"


def optimizer_of(configs: Configs, params: Parameters, groups: Sequence[Mapping[str, Any]]) -> Optimizer:
    config = configs[0]
    with section("optimizer", config.optimizer.name):
        rule: type[Optimizer] = optimizers.find(config.optimizer.name)
        options = dict(part_of(configs, attrgetter("optimizer"), optimizers).options)
        transforms: dict[str, Any] = {
            kind: _transforms(options.pop(kind, None), known) for kind, known in TRANSFORMS.items()
        }
        transforms[DECAY] = options.pop(DECAY, None)
        engine = engine_named(config.engine, config.backend)
        groups = [_composed_group(dict(group), rule, options, transforms) for group in groups]
        return composed(rule, **transforms)(params, groups, engine=engine, **options)


def _composed_group(
    group: dict[str, Any],
    rule: type[Optimizer],
    options: Mapping[str, Any],
    transforms: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a group with a rule of its own if it has another one, or transforms in place of the optimizer's."""
    own: dict[str, Any] = {
        kind: _transforms(group.pop(kind), known) for kind, known in TRANSFORMS.items() if kind in group
    }
    own |= {DECAY: group.pop(DECAY)} if DECAY in group else {}
    if not own and "rule" not in group:
        return group
    inherited = {} if "rule" in group else options
    beneath = group.pop("rule", rule)
    if DECAY not in own and "weight_decay" not in beneath.options():
        own[DECAY] = None
    made = composed(beneath, **{**transforms, **own})
    return {"rule": made.func, **inherited, **made.keywords, **group}


def _transforms(listed: Sequence[Component] | None, known: Registry[Any]) -> list[Any]:
    return [known.find(each.name)(**each.options) for each in listed or ()]


def schedulers_of(configs: Configs, optimizer: Optimizer, problem: Problem, steps: int) -> list[LRScheduler]:
    """Return the schedulers, those of single groups first: a scheduler for all groups skips groups that have one."""
    config, made = configs[0], []

    def make(path: str, chosen: Component, name: str, groups: list[int] | None) -> None:
        # Otherwise a OneCycleLR that counts steps would take it for its own option of this name.
        epochs = {"steps_per_epoch": problem.steps_per_epoch} if _counts_epochs(chosen) else {}
        with section(path, chosen.name):
            if epochs and problem.epochs_vary:
                said = "interval: epoch needs epochs of equally many steps, and the batch grows: count steps"
                raise ConfigError(said, field=INTERVAL.name)
            scheduler = built(chosen, optimizer, hyperparameter=name, groups=groups, **epochs)
            if scheduler.is_known_ahead:
                scheduler.check(scheduled_steps(steps))
        made.append(scheduler)

    first = len(optimizer.param_groups) - len(config.optimizer.param_groups)
    for i in range(len(config.optimizer.param_groups)):
        own = part_of(configs, lambda each, i=i: each.optimizer.param_groups[i].schedules)  # type: ignore[misc]
        for name, chosen in own.items():
            make(f"optimizer.param_groups.{i}.schedules.{name}", chosen, name, [first + i])
    for name, chosen in part_of(configs, _schedules).items():
        make("scheduler" if name == "lr" and config.scheduler else f"schedules.{name}", chosen, name, None)
    return made


def steps_of(config: RunConfig, problem: Problem) -> int:
    """Return the number of steps; ConfigError if it does not fit into 64 bits."""
    steps = config.steps or problem.steps_in(config.epochs or 0)
    if steps > MAX_WHOLE:
        raise ConfigError(
            f"epochs: {config.epochs} of {problem.steps_per_epoch} steps are too many", field="epochs"
        )
    return steps


def scheduled_steps(steps: int, most: int = CHECKED) -> Array:
    """Return all steps of a run, or ``most`` evenly spaced ones, the last step included."""
    if steps <= most:
        return np.arange(steps)
    # Integer arithmetic, since floats are not exact beyond 2**53.
    return np.array([i * (steps - 1) // (most - 1) for i in range(most)])


def average_of(configs: Configs, params: Parameters, steps: int) -> Average | None:
    """Return the average of the parameters; None if the configs have none."""
    config = configs[0]
    with section("average", config.average.name if config.average else ""):
        chosen = part_of(configs, attrgetter("average"), averages)
        if chosen is None:
            return None
        engine = engine_named(config.engine, config.backend)
        average: Average = averages.find(chosen.name)(params, engine=engine, **chosen.options)
        if average.start > steps:
            raise ConfigError(
                f"{chosen.name}: the run has {counted(steps, 'step')}, so an average that starts after {average.start} "
                "averages nothing",
                field="start",
            )
        return average


def _schedules(config: RunConfig) -> dict[str, Component]:
    return ({"lr": config.scheduler} if config.scheduler else {}) | config.schedules


def _counts_epochs(chosen: Any) -> bool:
    if isinstance(chosen, Component):
        return chosen.options.get(INTERVAL.name) == "epoch" or any(
            map(_counts_epochs, chosen.options.values())
        )
    return isinstance(chosen, list) and any(map(_counts_epochs, chosen))


@contextmanager
def section(path: str, name: str) -> Iterator[None]:
    """Add the place in the config to a ConfigError raised inside the block."""
    try:
        with guarded(name, owner_of(name)):
            yield
    except ConfigError as error:
        within = error.field if error.field != path.rpartition(".")[2] else ""
        raise ConfigError(str(error), field=f"{path}.{within}".rstrip(".")) from error
