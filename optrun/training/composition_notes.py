"""Notes about what an optimizer and its schedules are composed of: parts and options of parts without effect."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from optrun.config import RunConfig
from optrun.config.model.components import Component
from optrun.errors import counted
from optrun.registry import DECAY, TRANSFORMS, Option, Registry, optimizers
from optrun.training.build import scheduled_steps
from optrun.training.pack import Pack
from optrun.training.schedule_paths import schedules_by_path

WEIGHT_DECAY = "weight_decay"

SAMPLED_STEPS = 1 << 9
"""At so many steps most of what differs is seen to."""


def idle_parts(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield transforms and wrappers that change nothing in this run, or that make others superfluous."""
    groups = range(len(config.optimizer.param_groups))
    holders = ["optimizer", *(f"optimizer.param_groups.{i}" for i in groups)]
    scheduled = {name for each in pack.schedulers for _, name, _ in each.values_at(np.arange(1))}
    varied = {*varied, *(f"{holder}.{name}" for holder in holders for name in scheduled)}
    for place, known, chosen in _composed(config):
        cls = known.find(chosen.name)
        options: Mapping[str, Option] = cls.options()
        for name, value in chosen.options.items():
            if f"{place}.{name}" in varied:
                continue
            if options[name].unit == "steps" and type(value) is int and value > pack.steps:
                yield f"{place}.{name}: {value:,} is never reached in the run's {counted(pack.steps, 'step')}"
            if name in cls.idle and value == cls.idle[name][0]:
                yield f"{place}.{name} is {value:g}: {chosen.name} {cls.idle[name][1]}"
        if getattr(cls, "has_momentum", False):
            yield from _beside_momentum(pack, config, varied, chosen.name)


def _composed(config: RunConfig) -> Iterator[tuple[str, Registry[Any], Component]]:
    parts: list[tuple[str, Mapping[str, Any]]] = [("optimizer", config.optimizer.options)]
    parts += [
        (f"optimizer.param_groups.{i}", group.options)
        for i, group in enumerate(config.optimizer.param_groups)
    ]
    for place, options in parts:
        for kind, known in TRANSFORMS.items():
            for i, chosen in enumerate(options.get(kind) or ()):
                yield f"{place}.{kind}.{i}", known, chosen


def _beside_momentum(pack: Pack, config: RunConfig, varied: Collection[str], wrapper: str) -> Iterator[str]:
    """Yield the rule's momentum, and a decaying rate, beside a wrapper that has both of its own."""
    for name in ("momentum", "beta1"):
        value = config.optimizer.options.get(name)
        if isinstance(value, float) and value and f"optimizer.{name}" not in varied:
            yield f"optimizer.{name}: {wrapper} has a momentum of its own, beside which {name} is 0, not {value:g}"
    for scheduler in pack.schedulers:
        if scheduler.hyperparameter != "lr" or not scheduler.is_known_ahead or scheduler.has_feedback:
            continue
        rates = [
            np.ravel(value)[0]
            for value in scheduler.values_at(scheduled_steps(pack.steps, SAMPLED_STEPS))[0][2]
        ]
        if rates[-1] < max(rates):
            kind = type(scheduler).__name__
            yield f"{kind} lets the learning rate decay: {wrapper} averages instead, beside a warm-up at most"


def idle_decay(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield ways of weight decay where there is none."""
    of_groups = [f"optimizer.param_groups.{i}" for i in range(len(config.optimizer.param_groups))]
    if any(path.endswith(WEIGHT_DECAY) for path in (*varied, *schedules_by_path(config))):
        return
    chosen, groups = config.optimizer, pack.optimizer.param_groups
    own = list(zip(of_groups, chosen.param_groups, groups[len(groups) - len(of_groups) :], strict=True))
    readers = list(groups[: len(groups) - len(of_groups)])
    readers += [group for _, written, group in own if DECAY not in written.options]
    places = [("optimizer", chosen.options, readers)]
    places += [(place, written.options, [group]) for place, written, group in own]
    for place, options, those in places:
        if options.get(DECAY) is not None and not any(
            np.any(group.get(WEIGHT_DECAY, 0.0)) for group in those
        ):
            yield f"{place}.{DECAY} has no effect: {WEIGHT_DECAY} is 0"


def idle_rule(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield options of the optimizer, or its rule, that no group of parameters reads."""
    chosen = config.optimizer
    groups = chosen.param_groups
    if not groups or len(pack.optimizer.param_groups) > len(groups):
        return  # the first group has them
    if all(group.name is not None for group in groups):
        has_own = any(group.name == chosen.name for group in groups)
        what = "the options of" if has_own else "the rule, with its options, of"
        yield f"optimizer: {what} {chosen.name} has no effect: param_groups give all parameters rules of their own"
        return
    inheriting = [group.options for group in groups if group.name is None]
    for name, option in optimizers.find(chosen.name).options().items():
        is_set = f"optimizer.{name}" in varied or chosen.options[name] != option.default
        if is_set and all(name in options for options in inheriting):
            yield f"optimizer.{name} has no effect: each of the param_groups, which have all parameters, has its own"
