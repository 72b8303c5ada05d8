"""A pack: configs that differ in floats and seeds alone, built into one array program with a lane for each."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays, Parameters
from optrun.config import RunConfig
from optrun.config.components import INTERVAL, Component
from optrun.errors import ConfigError, StateError
from optrun.kernels import engine_named
from optrun.kernels.replay import Replay
from optrun.optim import Average, Optimizer
from optrun.optim.param_group import matching, selected
from optrun.problems import Problem
from optrun.registry import averages, blamed, optimizers, problems
from optrun.schedulers import LRScheduler
from optrun.training.checkpoints import PackState, picked
from optrun.training.stacking import built, stacked

CHECKED_AT_ONCE = 1 << 16
"""Values of a schedule that are checked together, before anything runs."""


class Pack:
    """Everything a step needs, for the lanes of all configs at once.

    Floats of the optimizer and the scheduler, and the seed, may differ between the configs. Raises ConfigError
    where anything else does, and where the options make no problem, optimizer or scheduler.

    ``problem`` is that of another pack of such configs, whose data are not loaded again.
    """

    def __init__(self, configs: Sequence[RunConfig], *, problem: Problem | None = None) -> None:
        config = configs[0]
        _check_same(configs)
        self.configs = configs
        self.arrays = Arrays(config.backend, config.dtype)
        seeds = [each.seed for each in configs]
        with _section("problem", config.problem.name):
            self.problem: Problem = problem or problems.find(config.problem.name)(
                self.arrays, **config.problem.options
            )
            self.steps = config.steps or (config.epochs or 0) * self.problem.steps_per_epoch
            self.batches = self.problem.batches(seeds)
            shapes = self.problem.shapes
        with _section("optimizer", config.optimizer.name):
            groups = self._groups(shapes)
        with _section("problem", config.problem.name):
            self.params = self._parameters(seeds, shapes, groups)
        with _section("optimizer", config.optimizer.name):
            self.optimizer = self._optimizer(groups)
        self.schedulers = self._schedulers()
        self._needs_metrics = any(each.needs_metrics for each in self.schedulers)
        with _section("average", config.average.name if config.average else ""):
            self.average = self._average()

    @property
    def lanes(self) -> int:
        """The number of runs."""
        return len(self.configs)

    def iterate(self, start: int, stop: int | None = None) -> Iterator[tuple[int, Array]]:
        """Yield each step from ``start`` to before ``stop``, by default the end, and its loss `[B]`.

        The update is made when the next step is asked for.
        """
        problem, params, grads = self.problem, self.params, self.params.grads
        optimizer, average, schedulers, batches = self.optimizer, self.average, self.schedulers, self.batches
        needs_closure = optimizer.needs_closure
        needs_metrics = self._needs_metrics
        replay = (
            Replay(self.arrays, problem.loss_and_grad)
            if self.runs_ahead and not optimizer.is_watched
            else None
        )
        loss_and_grad, update = (
            (replay.loss_and_grad, replay) if replay else (problem.loss_and_grad, nullcontext())
        )
        for t in range(start, self.steps if stop is None else stop):
            loss = loss_and_grad(params, grads, batches[t])
            # An evaluation, before the update, may overwrite the loss.
            metrics = self.arrays.to_host(loss).copy() if needs_metrics else None
            yield t, loss
            with update:
                optimizer.step(
                    partial(problem.loss_and_grad, params, grads, batches[t]) if needs_closure else None
                )
                if average is not None:
                    average.step()
            if t + 1 < self.steps:  # what a schedule says of a step that does not come is nobody's business
                for scheduler in schedulers:
                    scheduler.step(metrics)
        if replay is not None:
            replay.finish()

    @property
    def runs_ahead(self) -> bool:
        """Whether steps run on a device that needs no host in between."""
        return self.arrays.is_on_device and not (self.optimizer.needs_closure or self._needs_metrics)

    @property
    def keeps_average(self) -> bool:
        """Whether there is, sooner or later, an average of the parameters: the config's, or the optimizer's own."""
        return self.average is not None or bool(self.optimizer.average)

    def averaged(self) -> Mapping[str, Array] | None:
        """Return the average of the parameters, views `[B, *shape]` by name; None where there is none (yet)."""
        return self.optimizer.averaged() if self.average is None else self.average.averaged()

    def state(self) -> tuple[dict[str, Array], PackState]:
        """Return what resuming needs: arrays by name, and the rest."""
        optimizer = self.optimizer.state_dict()
        arrays = {f"params/{name}": self.arrays.to_host(value) for name, value in self.params.items()}
        steps: dict[str, int] = {}
        for parameter, entry in optimizer["state"].items():
            steps[parameter] = entry.pop("step")
            arrays |= {
                f"state/{name}/{parameter}": self.arrays.to_host(value) for name, value in entry.items()
            }
        if self.average is not None:
            average = self.average.state_dict()
            arrays |= {f"average/{name}": self.arrays.to_host(of) for name, of in average["values"].items()}
        return arrays, PackState(
            problem=self.problem.fingerprint,
            optimizer=optimizer["optimizer"],
            steps=steps,
            schedulers=[scheduler.state_dict() for scheduler in self.schedulers],
            average=self.average.steps if self.average is not None else None,
        )

    def load_state(self, arrays: Mapping[str, Array], state: PackState) -> None:
        """Copy in what `state` returned; StateError where it does not fit."""
        if state.problem != self.problem.fingerprint:
            raise StateError(
                "the data have changed since the run began: bring the old ones back, or run anew"
            )
        entries: dict[str, dict[str, Any]] = {name: {"step": step} for name, step in state.steps.items()}
        values: dict[str, Array] = {}
        average: dict[str, Array] = {}
        for key, value in arrays.items():
            kind, _, rest = key.partition("/")
            name, _, parameter = rest.partition("/")
            if kind == "params":
                values[rest] = value
            elif kind == "average":
                average[rest] = value
            elif parameter in entries:
                entries[parameter][name] = value
            else:
                raise StateError(f"the checkpoint holds an unknown array {key!r}")
        expected = {name: view.shape for name, view in self.params.items()}
        if {name: value.shape for name, value in values.items()} != expected:
            raise StateError("the checkpoint's parameters have other names or shapes")
        if len(state.schedulers) != len(self.schedulers):
            raise StateError("the checkpoint has other schedulers than the config")
        if (state.average is None) != (self.average is None) or (average and self.average is None):
            raise StateError("the checkpoint has an average where the config has none, or the reverse")
        groups = [dict(group) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(
            {"optimizer": state.optimizer, "state": entries, "param_groups": groups}
        )
        for name, value in values.items():
            self.params[name][:] = self.arrays.array(value)
        for scheduler, steps in zip(self.schedulers, state.schedulers, strict=True):
            scheduler.load_state_dict(steps)
        if self.average is not None:
            name = type(self.average).__name__
            self.average.load_state_dict({"average": name, "steps": state.average, "values": average})

    def narrowed(self, lanes: Sequence[int]) -> "Pack":
        """Return a pack of some of the lanes that goes on from where this one is."""
        arrays, state = self.state()
        pack = Pack([self.configs[lane] for lane in lanes], problem=self.problem)
        pack.load_state(picked(arrays, lanes), state.of(lanes))
        return pack

    def _parameters(
        self, seeds: Sequence[int], shapes: Mapping[str, tuple[int, ...]], groups: Sequence[Mapping[str, Any]]
    ) -> Parameters:
        size = sum(math.prod(shape) for shape in shapes.values())
        # A group's parameters lie side by side, so that it is one slice; the lanes of one element do where
        # there are more lanes than elements.
        order = [name for group in groups for name in matching(group["params"], shapes)]
        params = Parameters(
            {name: shapes[name] for name in dict.fromkeys([*order, *shapes])},
            lanes=len(seeds),
            arrays=self.arrays,
            lane_fast=self.problem.lane_fast and len(seeds) > size,
        )
        for lane, seed in enumerate(seeds):
            params.set_lane(lane, self.problem.initial(seed))
        return params

    def _groups(self, names: Collection[str]) -> list[dict[str, Any]]:
        """Return the parameter groups, those with the options as they are first: `lr` is their rate."""
        groups: list[dict[str, Any]] = [
            {"params": group.params}
            | stacked([each.optimizer.param_groups[index].options for each in self.configs])
            for index, group in enumerate(self.configs[0].optimizer.param_groups)
        ]
        chosen: set[str] = set()
        for index, group in enumerate(groups):
            try:
                chosen.update(selected(group["params"], names, self.configs[0].optimizer.name))
            except ConfigError as error:
                raise ConfigError(str(error), field=f"param_groups.{index}.params") from error
        rest = [name for name in names if name not in chosen]
        return [{"params": rest}, *groups] if rest else groups

    def _optimizer(self, groups: Sequence[Mapping[str, Any]]) -> Optimizer:
        config = self.configs[0]
        rule: type[Optimizer] = optimizers.find(config.optimizer.name)
        options = stacked([each.optimizer.options for each in self.configs])
        engine = engine_named(config.engine, config.backend)
        return rule(self.params, groups, engine=engine, **options)

    def _schedulers(self) -> list[LRScheduler]:
        """Return the schedules of single groups first: the others are for the groups that have none."""
        config, made = self.configs[0], []
        first = len(self.optimizer.param_groups) - len(config.optimizer.param_groups)
        for i in range(len(config.optimizer.param_groups)):
            own = stacked([each.optimizer.param_groups[i].schedules for each in self.configs])
            for name, chosen in own.items():
                section = f"optimizer.param_groups.{i}.schedules.{name}"
                made.append(self._scheduler(section, chosen, name, [first + i]))
        for name, chosen in stacked([_schedules(each) for each in self.configs]).items():
            section = "scheduler" if name == "lr" and config.scheduler else f"schedules.{name}"
            made.append(self._scheduler(section, chosen, name, None))
        return made

    def _scheduler(self, section: str, chosen: Component, name: str, groups: list[int] | None) -> LRScheduler:
        # A OneCycleLR that counts steps has an option of this name, for another purpose.
        epochs = {"steps_per_epoch": self.problem.steps_per_epoch} if _counts_epochs(chosen) else {}
        with _section(section, chosen.name):
            made = built(chosen, self.optimizer, hyperparameter=name, groups=groups, **epochs)
            if made.is_known_ahead:
                rows = max(1, CHECKED_AT_ONCE // self.lanes)
                for first in range(0, self.steps, rows):
                    made.values_at(np.arange(first, min(first + rows, self.steps)))
        return made

    def _average(self) -> Average | None:
        chosen = stacked([each.average for each in self.configs])
        if chosen is None:
            return None
        engine = engine_named(self.configs[0].engine, self.configs[0].backend)
        average: Average = averages.find(chosen.name)(self.params, engine=engine, **chosen.options)
        if average.start > self.steps:
            raise ConfigError(
                f"{chosen.name}: the run has {self.steps} steps, so an average that starts after {average.start} "
                "takes nothing in",
                field="start",
            )
        return average


def _schedules(config: RunConfig) -> dict[str, Component]:
    return ({"lr": config.scheduler} if config.scheduler else {}) | config.schedules


def _counts_epochs(chosen: Any) -> bool:
    if isinstance(chosen, Component):
        return chosen.options.get(INTERVAL) == "epoch" or any(map(_counts_epochs, chosen.options.values()))
    return isinstance(chosen, list) and any(map(_counts_epochs, chosen))


def _check_same(configs: Sequence[RunConfig]) -> None:
    """Raise ConfigError where configs differ in what is one for all lanes of a pack."""
    first = configs[0]
    for part in (
        "problem",
        "steps",
        "epochs",
        "dtype",
        "backend",
        "engine",
        "record",
        "evaluate",
        "checkpoint",
        "stop",
    ):
        if any(getattr(config, part) != getattr(first, part) for config in configs):
            raise ConfigError(f"the runs of a pack differ in {part}", field=part)
    for config in configs:
        if [group.params for group in config.optimizer.param_groups] != [
            group.params for group in first.optimizer.param_groups
        ] or config.optimizer.name != first.optimizer.name:
            raise ConfigError("the runs of a pack differ in the optimizer or its groups", field="optimizer")


@contextmanager
def _section(section: str, name: str) -> Iterator[None]:
    """Name the part of the config to which an error belongs."""
    try:
        with blamed(name):
            yield
    except ConfigError as error:
        within = error.field if error.field != section.rpartition(".")[2] else ""
        raise ConfigError(str(error), field=f"{section}.{within}".rstrip(".")) from error
