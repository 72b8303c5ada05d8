"""A pack: configs that differ only in floats and seeds, built into one array program with one lane per config."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays, Parameters, stream
from optrun.config import RunConfig
from optrun.errors import ChangedError, StateError
from optrun.kernels import engine_named
from optrun.kernels.cuda.graph import Replay
from optrun.optim.curvature import Hessian, diagonal
from optrun.plugin_code import contract_error, shape_text
from optrun.problems import Problem
from optrun.registry import problems
from optrun.training.build import (
    average_of,
    check_measured,
    check_memory,
    check_same,
    groups_of,
    optimizer_of,
    parameters_of,
    schedulers_of,
    section,
    steps_of,
)
from optrun.training.checkpoints import PackState, select_arrays
from optrun.training.grid import lane_numbers, seeds_of, selected_configs
from optrun.training.memory import snapshot_bytes
from optrun.training.run_seed import data_seed, problem_options


class Pack:
    """The problem, parameters, optimizer and schedulers of several runs, one lane per run.

    The configs may differ only in the seeds, in floats of the optimizer and the schedulers, and in those of the problem
    that are `PerLane`. ``problem`` reuses the problem of a similar pack, whose data need not be loaded again. Unless
    ``at_start``, the parameters are zero.

    Raises ConfigError for other differences, and if the problem, the optimizer or a scheduler cannot be built.
    """

    def __init__(
        self, configs: Sequence[RunConfig], *, problem: Problem | None = None, at_start: bool = True
    ) -> None:
        config = configs[0]
        check_same(configs)
        self.configs = configs
        self.arrays = Arrays(config.backend, config.dtype)
        with section("problem", config.problem.name):
            problem = problem or problems.find(config.problem.name)(self.arrays, **problem_options(config))
            self._numbers = lane_numbers(configs)
            self.problem: Problem = problem.for_lanes(self._numbers) if self._numbers else problem
            self.steps = steps_of(config, self.problem)
            self.batches = self.problem.batches(seeds_of(configs, data_seed))
            shapes = self.problem.shapes
            self.problem.use(engine_named(config.engine, config.backend))
        check_measured(config, self.problem)
        self.snapshot_bytes = snapshot_bytes(config, self.steps, shapes.values())
        """Bytes of the parameters that each run keeps along its way."""
        groups = groups_of(configs, shapes)
        self.params = parameters_of(configs, self.problem, groups, at_start=at_start)
        self.optimizer = optimizer_of(configs, self.params, groups)
        self._evaluated: Parameters | None = None
        self.schedulers = schedulers_of(configs, self.optimizer, self.problem, self.steps)
        self._needs_metrics = any(each.needs_metrics for each in self.schedulers)
        self.observes_figures = any(each.figures for each in self.schedulers)
        """Whether a schedule observes evaluations."""
        self.average = average_of(configs, self.params, self.steps)
        check_memory(self.params, self.optimizer, self.average, self.steps)

    def problem_of(self, lanes: Sequence[int]) -> Problem:
        """Return the problem with the numbers of some of the lanes."""
        if len(lanes) == self.lanes or not self._numbers:
            return self.problem
        return self.problem.for_lanes(lane_numbers(selected_configs(self.configs, lanes)))

    @property
    def lanes(self) -> int:
        """The number of runs."""
        return len(self.configs)

    def iterate(
        self, start: int, stop: int | None = None, leap: Callable[[int], int] | None = None
    ) -> Iterator[tuple[int, Array]]:
        """Yield each step in ``start`` … ``stop`` - 1 (by default the last step) and its loss `[B]`.

        The optimizer's update is made when the next step is requested. ``leap`` is given that step; it may make steps,
        and returns the step to go on with.
        """
        problem, params, grads = self.problem, self.params, self.params.grads
        optimizer, average, schedulers, batches = self.optimizer, self.average, self.schedulers, self.batches
        needs_closure = optimizer.needs_closure
        needs_metrics = self._needs_metrics
        needs_loss, reads_samples = optimizer.needs_loss, optimizer.reads_samples
        replay = (
            Replay(self.arrays, problem.loss_and_grad)
            if self.is_asynchronous and not optimizer.has_post_hooks and leap is None
            else None
        )
        loss_and_grad = replay.loss_and_grad if replay else problem.loss_and_grad
        t, stop = start, self.steps if stop is None else stop
        while t < stop:
            loss = loss_and_grad(params, grads, batches[t])
            if t == start:
                self._check_loss(loss)
            # Copied, since an evaluation before the update may overwrite the loss buffer.
            metrics = self.arrays.to_host(loss).copy() if needs_metrics or needs_loss else None
            yield t, loss
            if reads_samples:
                self._sample(t)
            if replay is not None:
                with replay:
                    optimizer.step()
                    if average is not None:
                        average.step()
            else:
                closure = self._closure(t, loss if metrics is None else metrics) if needs_closure else None
                # A plugin's own step may take no loss.
                optimizer.step(closure, **({"loss": metrics} if needs_loss else {}))
                if average is not None:
                    average.step()
            for scheduler in schedulers:
                observed = metrics if needs_metrics and scheduler.needs_metrics else None
                if t + 1 < self.steps:
                    scheduler.step(metrics=observed)
                else:  # no scheduler step after the last update: it could leave the hyperparameter's bounds
                    scheduler.finish(observed)
            t = t + 1 if leap is None else leap(t + 1)
        if replay is not None:
            replay.finish()

    def _closure(self, t: int, loss: Array) -> Callable[[], Array]:
        """Return what evaluates the batch of a step; a rule that probes begins with the gradient that there is."""
        evaluate = partial(self.problem.loss_and_grad, self.params, self.params.grads, self.batches[t])
        known = [loss] if self.optimizer.probe() else []
        return lambda: known.pop() if known else evaluate()

    def look_far(self, steps: int) -> None:
        """Make ready for many of the steps to come at once: in the optimizer and in the schedules."""
        self.optimizer.look_far(steps)
        for scheduler in self.schedulers:
            scheduler.look_far(steps)

    def advance(self, steps: int) -> None:
        """Have the schedules follow so many steps that were made at once."""
        for scheduler in self.schedulers:
            scheduler.advance(steps)

    def observe_evaluation(self, figures: Mapping[str, Array]) -> None:
        """Have the schedules observe an evaluation, before the update whose values it changes."""
        for scheduler in self.schedulers:
            scheduler.observe_evaluation(figures)

    def _sample(self, t: int) -> None:
        """Write what the next step reads beside the gradient; it depends on the seed and t, and on the batch."""
        problem, params = self.problem, self.params
        seeds = [config.seed for config in self.configs]
        if self.optimizer.awaits_noise:
            drawn = {seed: stream(seed, "optimizer", t).standard_normal(params.size) for seed in {*seeds}}
            noise = np.stack([drawn[seed] for seed in seeds])
            params.noise[...] = self.arrays.array(noise[:, self._order])
        if self.optimizer.awaits_curvature:

            def times(vectors: Array) -> Array:
                products = np.empty_like(vectors)
                given = vectors[:, self._order]
                products[:, self._order] = problem.hessian_times(params, given, self.batches[t])
                return products

            sample = diagonal(Hessian(times, params.size, seeds), t)
            params.curvature[...] = self.arrays.array(sample[:, self._order])

    @cached_property
    def _order(self) -> Array:
        """Where in the problem's order each element of the parameters is; groups may have another order in memory."""
        ends = np.cumsum([math.prod(shape) for shape in self.problem.shapes.values()])
        place = dict(zip(self.problem.shapes, np.split(np.arange(self.params.size), ends[:-1]), strict=True))
        return np.concatenate([place[name] for name in self.params])

    def _check_loss(self, loss: Any) -> None:
        if getattr(loss, "shape", None) != (self.lanes,):
            raise contract_error(
                type(self.problem).loss_and_grad,
                f"returns a loss of {shape_text(loss)}, not an array of shape ({self.lanes},), one value per lane",
            )

    @property
    def is_asynchronous(self) -> bool:
        """Whether steps run asynchronously on a device, without the host in between."""
        needs_host = (
            self.optimizer.needs_closure
            or self.optimizer.reduces
            or self.optimizer.reads_samples
            or self._needs_metrics
            or self.observes_figures
            or self.configs[0].stop.metric is not None
        )
        return self.arrays.is_on_device and not needs_host

    @property
    def keeps_average(self) -> bool:
        """Whether the run averages its parameters, by the config's average or the optimizer's own (ASGD)."""
        return self.average is not None or bool(self.optimizer.average)

    def averaged(self) -> Mapping[str, Array] | None:
        """Return the average of the parameters, views `[B, *shape]` by name; None while it does not exist."""
        return self.optimizer.averaged() if self.average is None else self.average.averaged()

    def evaluated(self) -> Parameters:
        """Return the parameters that are evaluated: the optimizer's, or a copy of what it has in their place."""
        if not self.optimizer.evaluated:
            return self.params
        if self._evaluated is None:
            self._evaluated = self.params.copy()
        for name, values in (self.optimizer.at_evaluation() or self.params).items():
            self._evaluated[name][:] = values
        return self._evaluated

    def state(self) -> tuple[dict[str, Array], PackState]:
        """Return the state to resume from: arrays by name, and the rest."""
        optimizer = self.optimizer.state_dict()
        arrays = {f"params/{name}": self.arrays.to_host(value) for name, value in self.params.items()}
        arrays |= {
            f"problem/{name}": self.arrays.to_host(value) for name, value in self.problem.state().items()
        }
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
        """Restore what `state` returned; StateError if it does not fit, ChangedError if the data have changed."""
        if state.problem and self.problem.fingerprint not in ("", state.problem):
            raise ChangedError(
                "the data have changed since the run began: restore the old ones, or start a new run"
            )
        entries: dict[str, dict[str, Any]] = {name: {"step": step} for name, step in state.steps.items()}
        values: dict[str, Array] = {}
        average: dict[str, Array] = {}
        of_problem: dict[str, Array] = {}
        for key, value in arrays.items():
            kind, _, rest = key.partition("/")
            name, _, parameter = rest.partition("/")
            if kind == "params":
                values[rest] = value
            elif kind == "average":
                average[rest] = value
            elif kind == "problem":
                of_problem[rest] = value
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
        self.problem.load_state(of_problem)
        for scheduler, steps in zip(self.schedulers, state.schedulers, strict=True):
            scheduler.load_state_dict(steps)
        if self.average is not None:
            name = type(self.average).__name__
            self.average.load_state_dict({"average": name, "steps": state.average, "values": average})

    def narrowed(self, lanes: Sequence[int]) -> "Pack":
        """Return a pack of some of the lanes that continues from the current state."""
        arrays, state = self.state()
        pack = Pack(selected_configs(self.configs, lanes), problem=self.problem)
        pack.load_state(select_arrays(arrays, lanes), state.select(lanes))
        return pack
