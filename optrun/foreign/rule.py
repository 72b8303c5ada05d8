"""What rules of other libraries have in common: no trace, one parameter group, a state of bytes or arrays."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from types import new_class
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.errors import ConfigError
from optrun.foreign.signatures import Signature, version_of
from optrun.optim.optimizer import Optimizer
from optrun.optim.param_group import ParamGroup
from optrun.optim.rule import Rule
from optrun.optim.state import check_step_count
from optrun.registry import Option
from optrun.sources import Source

MAXIMIZE = Option("maximize", bool, False)

BUFFERS = 4
"""How many buffers of the size of the parameters a state is taken to have at most."""


class ForeignOptimizer(Optimizer, registered=False):
    """An optimizer of another library; its class is made for the target that a config names."""

    traced = False
    may_draw: ClassVar[bool] = False
    """Whether its code may draw random numbers that depend on the seed."""
    reads_loss: ClassVar[bool] = False
    """Whether its step is given the loss of the batch."""
    target: ClassVar[Callable[..., Any]]
    signature: ClassVar[Signature]
    kind: ClassVar[type["ForeignUpdate"]]

    @classmethod
    def options(cls) -> dict[str, Option]:
        return {**cls.signature.options, MAXIMIZE.name: MAXIMIZE}

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return no names: what a state holds is known once there is one."""
        return ()

    @classmethod
    def takes_loss(cls) -> bool:
        return cls.reads_loss

    @classmethod
    def scalar_states(cls) -> tuple[str, ...]:
        return ()

    @property
    def draws(self) -> bool:
        return self.may_draw

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the only parameter group; ConfigError for a second one."""
        if self.param_groups:
            said = f"{type(self).__name__}: only one parameter group is supported"
            raise ConfigError(said, field="param_groups")
        super().add_param_group(group)

    def _step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        (update,) = self._updates
        assert isinstance(update, ForeignUpdate)
        if self.needs_closure:
            if closure is None:
                raise ConfigError(f"{type(self).__name__}: step needs a closure that returns the loss")
            return update(closure)
        loss = closure() if closure is not None else loss
        update(loss=self._loss_of_lanes(loss) if self.reads_loss else None)
        return loss

    def _update_of(self, rule: type[Rule], group: ParamGroup) -> "ForeignUpdate":
        if rule is not type(self):
            said = f"{type(self).__name__} goes with no other rule, such as {rule.__name__}"
            raise ConfigError(said, field="param_groups")
        return self.kind(type(self), group, self.params)


class ForeignUpdate:
    """Steps of another library's optimizer, on copies of the parameters, on the host."""

    is_staged = False

    def __init__(self, rule: type[ForeignOptimizer], group: ParamGroup, params: Parameters) -> None:
        self.group, self.t = group, 0
        self._rule, self._params = rule, params
        self._loss: Array | None = None

    def __call__(self, closure: Callable[[], Any] | None = None, *, loss: Array | None = None) -> Any:
        """Make a step; ``loss`` `[B]` is that of the batch, for a rule that reads it."""
        self._loss = None if loss is None else self._sign * loss
        self._step(self._numbers())
        self.t += 1

    def is_read(self, name: str, open: Collection[str]) -> bool:
        """Return whether it may be read: nothing is known but that there is no learning rate."""
        return not (name == "lr" and self._rule.signature.rate is None)

    def state_bytes(self, steps: int) -> int:
        """Return about the largest size of the state in bytes."""
        return BUFFERS * int(self._params.data.nbytes)

    def state(self, parameter: str) -> dict[str, Any]:
        """Return ``step``, and with the first parameter all the state, arrays whose first axis is the lane."""
        own = self._saved() if parameter == self.group["params"][0] else {}
        return {"step": self.t, **own}

    def verify(self, state: Mapping[str, Any]) -> None:
        """Raise StateError unless the entries of a state_dict are a state of this group."""
        check_step_count(self._rule.__name__, self.group["params"], state)
        self._loaded(self._first(state))

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore verified entries of a state_dict."""
        self.t = state.get(self.group["params"][0], {"step": 0})["step"]
        self._restore(self._loaded(self._first(state)))

    def _first(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {name: of for name, of in state.get(self.group["params"][0], {}).items() if name != "step"}

    def _numbers(self) -> list[dict[str, Any]]:
        """Return the values of the options for each lane."""
        values = {name: self.group[name] for name in self._rule.signature.options}
        return [
            {name: float(of[lane]) if isinstance(of, np.ndarray) else of for name, of in values.items()}
            for lane in range(self._params.lanes)
        ]

    @property
    def _sign(self) -> float:
        return -1.0 if self.group["maximize"] else 1.0

    def _host(self, tensors: Mapping[str, Array], *, outputs_first: bool) -> dict[str, Array]:
        """Return the group's tensors on the host; weights are `[out, in]` or, as in most of JAX, `[in, out]`."""
        found = {name: self._params.arrays.to_host(tensors[name]) for name in self.group["params"]}
        turned = self._params.inputs_first if outputs_first else frozenset(found) - self._params.inputs_first
        return {
            name: of.swapaxes(1, 2) if name in turned and of.ndim == 3 else of for name, of in found.items()
        }

    def _put(self, values: Mapping[str, Array], *, outputs_first: bool) -> None:
        """Write the group's parameters, as `_host` returns them."""
        turned = self._params.inputs_first if outputs_first else frozenset(values) - self._params.inputs_first
        for name, value in values.items():
            is_turned = name in turned and value.ndim == 3
            self._params[name][...] = self._params.arrays.array(value.swapaxes(1, 2) if is_turned else value)

    def _step(self, numbers: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def _saved(self) -> dict[str, Array]:
        raise NotImplementedError

    def _loaded(self, saved: Mapping[str, Any]) -> Any:
        """Return what `_restore` takes; StateError where it is no state of this optimizer."""
        raise NotImplementedError

    def _restore(self, loaded: Any) -> None:
        raise NotImplementedError


def made_rule(
    family: str,
    path: str,
    target: Callable[..., Any],
    signature: Signature,
    kind: type[ForeignUpdate],
    **more: Any,
) -> type[ForeignOptimizer]:
    """Return the class of a target, named as a config names it."""
    distribution, version = version_of(str(target.__module__).partition(".")[0])
    words = (target.__doc__ or "").strip().splitlines()
    about = f"{path} of {distribution} {version}".rstrip()
    doc = f"{about}, run as it is.\n\n{words[0].strip()}" if words else f"{about}, run as it is."
    name = f"{family}:{path}"
    digest = hashlib.sha256(f"{distribution} {version}".encode()).hexdigest()
    attributes = {
        "__doc__": doc,
        "__module__": __name__,
        "__wrapped__": target,
        "source": Source(f"{distribution} {version}", digest),
        "target": staticmethod(target),
        "signature": signature,
        "tuples": signature.tuples,
        "kind": kind,
        **more,
    }
    made: type[ForeignOptimizer] = new_class(
        name, (ForeignOptimizer,), {"registered": False}, lambda space: space.update(attributes)
    )
    return made
