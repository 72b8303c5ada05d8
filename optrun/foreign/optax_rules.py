"""Transformations of optax, vmapped over lanes."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.errors import ConfigError, StateError, brief
from optrun.foreign.rule import ForeignOptimizer, ForeignUpdate, made_rule
from optrun.foreign.signatures import Signature, imported, signature_of
from optrun.optim.param_group import ParamGroup


@cache
def optax_rule(path: str) -> type[ForeignOptimizer]:
    """Return the rule of a function that returns an optax transformation, a name of optax or a dotted path.

    Raises ConfigError where there is none, and MissingExtraError where its package is not installed.
    """
    target = imported(path, "optax", "a function")
    if not callable(target):
        raise ConfigError(
            f"{path} is no function that returns a transformation: {brief(target)}", field="name"
        )
    signature = signature_of(target, 0)
    return made_rule(
        "optax", path, target, signature, OptaxUpdate, reads_loss=_reads_value(target, signature)
    )


def _reads_value(target: Callable[..., Any], signature: Signature) -> bool:
    """Whether the update of a transformation asks for the loss, which optax calls ``value``."""
    import jax

    known = {name: option.default for name, option in signature.options.items() if not option.required}

    def update(p: Any) -> Any:
        made = target(**signature.arguments({"lr": 1.0, **known}))
        return made.update(p, made.init(p), p)

    try:
        jax.eval_shape(update, jax.numpy.zeros(1))
    except TypeError as error:
        return "argument: 'value'" in str(error)
    except Exception:  # it fails at its first step, too, where there are options and shapes
        return False
    return False


class OptaxUpdate(ForeignUpdate):
    """Steps of transformations: one for the lanes whose options but the learning rate are equal."""

    def __init__(self, rule: type[ForeignOptimizer], group: ParamGroup, params: Parameters) -> None:
        super().__init__(rule, group, params)
        self._begin()

    def _begin(self) -> None:
        numbers = self._numbers()
        alike: dict[str, list[int]] = {}
        for lane, of in enumerate(numbers):
            alike.setdefault(repr(_without_rate(of)), []).append(lane)
        values = self._host(self._params, outputs_first=False)
        rates = np.array([of["lr"] for of in numbers])
        with self._in_jax():
            self._parts = [_Part(self._rule, numbers[lanes[0]], lanes) for lanes in alike.values()]
            for part in self._parts:
                part.begin(rates, values)
        self._options = [_without_rate(of) for of in numbers]

    def _step(self, numbers: list[dict[str, Any]]) -> None:
        for before, now in zip(self._options, numbers, strict=True):
            for name, value in before.items():
                if now[name] != value:
                    raise ConfigError(
                        f"{name} is fixed when the transformation is made: it cannot be scheduled"
                    )
        rates = np.array([of["lr"] for of in numbers])
        values = self._host(self._params, outputs_first=False)
        grads = self._host(self._params.grads, outputs_first=False)
        with self._in_jax():
            moved = {name: np.empty_like(of) for name, of in values.items()}
            for part in self._parts:
                slopes = {name: self._sign * of for name, of in grads.items()}
                for name, of in part.step(rates, values, slopes, self._loss).items():
                    moved[name][part.lanes] = of
        self._put(moved, outputs_first=False)

    def _saved(self) -> dict[str, Array]:
        if not self.t:
            return {}
        rows: dict[str, Array] = {}
        with self._in_jax():
            for part in self._parts:
                for i, leaf in enumerate(part.leaves()):
                    whole = rows.setdefault(
                        f"leaf{i}", np.zeros((self._params.lanes, *leaf.shape[1:]), leaf.dtype)
                    )
                    whole[part.lanes] = leaf
        return rows

    def _loaded(self, saved: Mapping[str, Any]) -> dict[str, Array]:
        arrays = {name: np.asarray(of) for name, of in saved.items()}
        if arrays:
            with self._in_jax():
                expected = {
                    f"leaf{i}": (self._params.lanes, *leaf.shape[1:])
                    for part in self._parts
                    for i, leaf in enumerate(part.leaves())
                }
            if {name: of.shape for name, of in arrays.items()} != expected:
                raise StateError(f"{self._rule.__name__}: the state has other arrays than the transformation")
        return arrays

    def _restore(self, loaded: dict[str, Array]) -> None:
        self._begin()
        if loaded:
            with self._in_jax():
                for part in self._parts:
                    part.load([loaded[f"leaf{i}"][part.lanes] for i in range(len(loaded))])

    def _in_jax(self) -> Any:
        import jax

        return jax.enable_x64(self._params.data.dtype == np.float64)


class _Part:
    """Lanes that differ in the learning rate alone, and the state of their transformation."""

    def __init__(self, rule: type[ForeignOptimizer], options: Mapping[str, Any], lanes: list[int]) -> None:
        self.lanes = lanes
        self._rule, self._options = rule, options
        self._step: Callable[..., Any] | None = None
        self._state: Any = None

    def begin(self, rates: Array, values: Mapping[str, Array]) -> None:
        import jax

        tensors = self._of(values)
        try:
            self._state = jax.vmap(lambda lr, p: self._made(lr).init(p))(rates[self.lanes], tensors)
            self._step = jax.jit(jax.vmap(self._one))
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
            self._step = self._each
            states = [
                self._made(float(rates[lane])).init({name: of[i] for name, of in tensors.items()})
                for i, lane in enumerate(self.lanes)
            ]
            self._state = jax.tree.map(lambda *of: jax.numpy.stack(of), *states)

    def step(
        self, rates: Array, values: Mapping[str, Array], grads: Mapping[str, Array], loss: Array | None
    ) -> dict[str, Array]:
        """Return the parameters after a step."""
        import jax

        assert self._step is not None
        of_lanes = None if loss is None else loss[self.lanes]
        given = rates[self.lanes], self._state, self._of(values), self._of(grads), of_lanes
        try:
            moved, self._state = self._step(*given)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
            # It decides by the learning rate in Python, so that each lane is a call of its own.
            self._step = self._each
            moved, self._state = self._step(*given)
        return {name: np.asarray(of) for name, of in moved.items()}

    def leaves(self) -> list[Array]:
        import jax

        return [np.asarray(leaf) for leaf in jax.tree.leaves(self._state)]

    def load(self, leaves: list[Array]) -> None:
        import jax

        known, shape = jax.tree.flatten(self._state)
        given = [jax.numpy.asarray(of, leaf.dtype) for of, leaf in zip(leaves, known, strict=True)]
        self._state = jax.tree.unflatten(shape, given)

    def _of(self, values: Mapping[str, Array]) -> dict[str, Any]:
        import jax

        return {name: jax.numpy.asarray(of[self.lanes]) for name, of in values.items()}

    def _made(self, lr: Any) -> Any:
        return self._rule.target(**self._rule.signature.arguments({**self._options, "lr": lr}))

    def _one(self, lr: Any, state: Any, params: Any, grads: Any, loss: Any) -> Any:
        import optax

        more = {} if loss is None else {"value": loss}
        updates, state = self._made(lr).update(grads, state, params, **more)
        return optax.apply_updates(params, updates), state

    def _each(self, rates: Array, state: Any, params: Any, grads: Any, loss: Any) -> Any:
        import jax

        rows = [
            self._one(float(rate), *jax.tree.map(lambda of, i=i: of[i], (state, params, grads, loss)))
            for i, rate in enumerate(rates)
        ]
        return jax.tree.map(lambda *of: jax.numpy.stack(of), *rows)


def _without_rate(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if name != "lr"}
