"""Optimizers of torch's interface, one object per lane."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from optrun.arrays import Array, Parameters, stream
from optrun.errors import ConfigError, PluginError, StateError, brief
from optrun.foreign.rule import ForeignOptimizer, ForeignUpdate, made_rule
from optrun.foreign.signatures import imported, signature_of
from optrun.foreign.states import as_rows, packed, unpacked
from optrun.foreign.torch_states import is_state, restore, state_of
from optrun.optim.param_group import ParamGroup

PLUGIN = "optrun.foreign"

STATE = "lane_state"
"""The name of the array that holds the state of the lanes as bytes."""


@cache
def torch_rule(path: str) -> type[ForeignOptimizer]:
    """Return the rule of a subclass of `torch.optim.Optimizer`, a name of torch.optim or a dotted path.

    Raises ConfigError where there is none, and MissingExtraError where its package is not installed.
    """
    target = imported(path, "torch.optim", "a class")
    import torch

    if not (inspect.isclass(target) and issubclass(target, torch.optim.Optimizer)):
        raise ConfigError(f"{path} is no optimizer of torch: {brief(target)}", field="name")
    made: Any = target  # for a check of types without torch
    of_step = inspect.signature(made.step).parameters
    closure = of_step.get("closure")
    needs_closure = closure is not None and closure.default is inspect.Parameter.empty
    has_modes = all(callable(getattr(target, name, None)) for name in ("train", "eval"))
    return made_rule(
        "torch",
        path,
        target,
        signature_of(target, 1),
        TorchUpdate,
        needs_closure=needs_closure,
        reads_loss="loss" in of_step and not needs_closure,
        batched=not needs_closure,
        evaluated="eval" if has_modes else "",
        at_evaluation=_at_evaluation,
        may_draw=not target.__module__.startswith("torch.optim."),
    )


def _at_evaluation(self: ForeignOptimizer) -> dict[str, Array] | None:
    """Return what an optimizer with modes has for the parameters in that of evaluation, such as their average."""
    (update,) = self._updates
    assert isinstance(update, TorchUpdate)
    return update.evaluated() if self.evaluated and update.t else None


class TorchUpdate(ForeignUpdate):
    """Steps of one torch optimizer per lane, each with tensors and random numbers of its own."""

    def __init__(self, rule: type[ForeignOptimizer], group: ParamGroup, params: Parameters) -> None:
        super().__init__(rule, group, params)
        self._closure: Any = None
        self._losses: list[Any] = []
        self._given = self._numbers()
        values = self._host(params, outputs_first=True)
        with _in_torch(params):
            self._lanes = [
                _Lane(rule, self._given[lane], _of_lane(values, lane), params.seeds[lane])
                for lane in range(params.lanes)
            ]

    def __call__(self, closure: Any = None, *, loss: Array | None = None) -> Any:
        """Make a step; one that needs a closure asks it for the loss."""
        self._closure, self._losses = closure, []
        super().__call__(loss=loss)
        return self._losses[0] if self._losses else None

    def _step(self, numbers: list[dict[str, Any]]) -> None:
        grads = self._host(self._params.grads, outputs_first=True)
        values = self._host(self._params, outputs_first=True)
        with _in_torch(self._params):
            for index, lane in enumerate(self._lanes):
                if numbers[index] != self._given[index]:
                    lane.set(numbers[index], self._given[index])
                lane.put(
                    _of_lane(values, index),
                    {name: self._sign * of for name, of in _of_lane(grads, index).items()},
                )
                loss = None if self._loss is None else float(self._loss[index])
                lane.step(self.t, None if self._closure is None else self._evaluate, loss)
        self._given = numbers
        self._put(_joined([lane.values() for lane in self._lanes]), outputs_first=True)

    def _evaluate(self) -> Any:
        """Evaluate the loss at the tensors of the only lane, whose gradients it sets."""
        import torch

        (lane,) = self._lanes
        self._put(_joined([lane.values()]), outputs_first=True)
        loss = np.ravel(self._params.arrays.to_host(self._closure())).copy()
        self._losses.append(loss)
        grads = self._host(self._params.grads, outputs_first=True)
        lane.put(lane.values(), {name: self._sign * of for name, of in _of_lane(grads, 0).items()})
        return torch.as_tensor(self._sign * float(loss[0]))

    def evaluated(self) -> dict[str, Array]:
        """Return the parameters that each lane evaluates, which its next step does not see."""
        with _in_torch(self._params):
            found = _joined([lane.evaluated() for lane in self._lanes])
        turned = self._params.inputs_first
        views = {
            name: of.swapaxes(1, 2) if name in turned and of.ndim == 3 else of for name, of in found.items()
        }
        rest = {name: of for name, of in self._params.items() if name not in views}
        return {**rest, **{name: self._params.arrays.array(of) for name, of in views.items()}}

    def _saved(self) -> dict[str, Array]:
        try:
            with _in_torch(self._params):
                return {STATE: as_rows([packed(lane.state()) for lane in self._lanes])} if self.t else {}
        except PluginError as error:
            raise PluginError(f"{self._rule.__name__}: {error}") from None

    def _loaded(self, saved: Mapping[str, Any]) -> list[Any] | None:
        if not saved:
            return None
        rows = np.asarray(saved.get(STATE, 0), np.uint8)
        if saved.keys() != {STATE} or rows.ndim != 2 or len(rows) != self._params.lanes:
            raise StateError(
                f"{self._rule.__name__}: the state has {', '.join(saved)}, not {STATE} of each lane"
            )
        states = [unpacked(row.tobytes()) for row in rows]
        if not all(map(is_state, states)):
            raise StateError(f"{self._rule.__name__}: the state is not one of this version of {PLUGIN}")
        return states

    def _restore(self, loaded: list[Any] | None) -> None:
        values = self._host(self._params, outputs_first=True)
        self._given = self._numbers()
        with _in_torch(self._params):
            self._lanes = [
                _Lane(self._rule, self._given[lane], _of_lane(values, lane), self._params.seeds[lane])
                for lane in range(self._params.lanes)
            ]
            for lane, state in zip(self._lanes, loaded or (), strict=False):
                lane.load(state)


class _Lane:
    """A torch optimizer with its tensors."""

    def __init__(
        self,
        rule: type[ForeignOptimizer],
        numbers: Mapping[str, Any],
        values: Mapping[str, Array],
        seed: int,
    ) -> None:
        import torch

        self._signature = rule.signature
        self._tensors = {name: torch.nn.Parameter(torch.tensor(of)) for name, of in values.items()}
        self._seed = seed
        self._begin_to_draw()
        first = next(iter(inspect.signature(rule.target).parameters))
        given = self._tensors.items() if first == "named_parameters" else self._tensors.values()
        self.optimizer: Any = rule.target(list(given), **rule.signature.arguments(numbers))
        self._modes = bool(rule.evaluated)
        if self._modes:
            self.optimizer.train()

    def set(self, numbers: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Give the options that have changed to the optimizer; ConfigError for one that it has not in its group."""
        now, then = self._signature.arguments(numbers), self._signature.arguments(before)
        for name, value in now.items():
            if value != then[name]:
                for group in self.optimizer.param_groups:
                    if name not in group:
                        raise ConfigError(
                            f"{name} is fixed when the optimizer is made: it cannot be scheduled"
                        )
                    group[name] = value

    def put(self, values: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        import torch

        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(values[name])))
                tensor.grad = torch.from_numpy(np.ascontiguousarray(grads[name]))

    def step(self, t: int, closure: Any, loss: float | None) -> None:
        import torch

        self._begin_to_draw(t)
        given = {} if loss is None else {"loss": torch.tensor(loss)}
        self.optimizer.step(*(() if closure is None else (closure,)), **given)

    def _begin_to_draw(self, *t: int) -> None:
        """Seed torch for the constructor or a step, so that no state of a generator is kept."""
        import torch

        torch.default_generator.manual_seed(int(stream(self._seed, "torch optimizer", *t).integers(2**63)))

    def values(self) -> dict[str, Array]:
        return {name: tensor.detach().numpy().copy() for name, tensor in self._tensors.items()}

    def evaluated(self) -> dict[str, Array]:
        """Return the parameters in the mode of evaluation; they are exactly what they were afterwards."""
        before = self.values()
        self.optimizer.eval()
        found = self.values()
        self.optimizer.train()
        self.put(before, {name: np.zeros_like(of) for name, of in before.items()})
        return found

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on as plain values and arrays."""
        return state_of(self.optimizer, list(self._tensors.values()))

    def load(self, saved: Any) -> None:
        restore(self.optimizer, list(self._tensors.values()), saved)


def _of_lane(values: Mapping[str, Array], lane: int) -> dict[str, Array]:
    return {name: np.ascontiguousarray(of[lane]) for name, of in values.items()}


def _joined(lanes: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([lane[name] for lane in lanes]) for name in lanes[0]}


@contextmanager
def _in_torch(params: Parameters) -> Iterator[None]:
    """Compute as the parameters are: counters of float64 parameters in float64, on one thread, with its own numbers."""
    import torch

    threads, dtype, random = torch.get_num_threads(), torch.get_default_dtype(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64 if params.data.dtype == np.float64 else torch.float32)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_rng_state(random)
