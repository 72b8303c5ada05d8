"""What an update rule declares.

A rule is a class with one static method, whose signature is the schema::

    class SGD(Optimizer):
        @staticmethod
        def update(p, g, t, /, momentum_buffer, *, lr: NonNegative = 1e-3, momentum: NonNegative = 0.0):
            momentum_buffer[:] = where(t == 1, g, momentum * momentum_buffer + g)
            p -= lr * momentum_buffer

Before `/` stand the parameters, the gradient and the number of this step (from 1); between `/` and `*` the state,
which starts at zero; after `*` the hyperparameters. Floats may differ from lane to lane and from step to step;
anything else is fixed when the rule is traced, so a rule may branch on a bool but not on a float or on `t`.

State has the parameters' shape. One that is annotated `Number` is a number per lane instead, in float64, and may
depend on hyperparameters, `t` and other numbers alone. A rule with ``per_tensor`` is traced for each tensor: it may use
`@`, `mT`, `mean` and `norm`, ask for `p.shape` and `p.fans`, and give its state other shapes by `state_shapes`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, get_type_hints

from optrun.errors import ConfigError, brief
from optrun.kernels.program import Program
from optrun.kernels.trace import trace
from optrun.plugin_code import guarded
from optrun.registry import Number, Option, check_annotated, optimizers, options_of

_MAXIMIZE = Option("maximize", bool, False)


class Rule:
    """The declarations of an optimizer's class, and the programs traced from its update."""

    tuples: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Hyperparameters that torch spells as one tuple."""

    per_tensor: ClassVar[bool] = False
    """Whether the rule looks at whole tensors; elementwise ones see all of a group's elements at once."""

    batched: ClassVar[bool] = True
    """Whether there may be more than one lane."""

    needs_closure: ClassVar[bool] = False
    """Whether a step evaluates the loss, perhaps several times, by the closure that it is given."""

    average: ClassVar[str] = ""
    """The state that is an average of the parameters, to be evaluated beside them; kept for its own sake."""

    update: ClassVar[Callable[..., Any]]
    """Changes the parameters and the state in place, given the gradient; a static method of every rule."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        if not hasattr(cls, "update"):
            optimizers.add_lacking(cls, "update(p, g, t, /, …, *, lr: …)")
        else:
            _check_signature(cls)
            optimizers.add(cls, cls.__name__)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the hyperparameters, by name."""
        return {**options_of(cls.update), _MAXIMIZE.name: _MAXIMIZE}

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for values that are impossible together."""

    @classmethod
    def validate_parameter(cls, name: str, shape: tuple[int, ...]) -> None:
        """Raise ConfigError for a parameter that the rule cannot update."""

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each state of a parameter of this shape."""
        return dict.fromkeys(cls.states(), shape)

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return the names of the state buffers."""
        parameters = inspect.signature(cls.update).parameters.values()
        return tuple(
            parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        )

    @classmethod
    @cache
    def program(
        cls,
        flags: tuple[tuple[str, Any], ...],
        shape: tuple[int, ...] | None = None,
        dtype: str = "",
        inputs_first: bool = False,
    ) -> Program:
        """Return the traced rule for these values of the hyperparameters that are no floats.

        A rule that looks at tensors is traced for the shape of one, its dtype, and whether it lies `[in, out]`.
        """
        others = dict(flags)
        hints = get_type_hints(cls.update, include_extras=True)
        with guarded(cls.__name__, cls):
            return trace(
                cls.update,
                cls.states(),
                [name for name, option in cls.options().items() if option.is_float],
                others,
                maximize=others.pop("maximize"),
                numbers=[name for name, hint in hints.items() if hint is Number],
                kept=[cls.average] if cls.average else [],
                shapes=None if shape is None else {"p": shape, **cls.state_shapes(shape)},
                dtype=dtype,
                inputs_first=inputs_first,
            )


def flags_of(owner: str, values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return hyperparameters that are no floats as what a rule is traced for; ConfigError for one that has no hash."""
    for name, value in values.items():
        try:
            hash(value)
        except TypeError:
            raise ConfigError(
                f"{owner}: {name} chooses a program, so it must have a hash, as a tuple has (got {brief(value)})",
                field=name,
            ) from None
    return tuple(values.items())


def _check_signature(rule: type[Rule]) -> None:
    parameters = list(inspect.signature(rule.update).parameters.values())
    first = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]
    if len(first) != 3:
        before = "p, evaluate, memory" if rule.needs_closure else "p, g, t"
        raise TypeError(f"{rule.__name__}.update takes {before} before a slash: update({before}, /, …)")
    check_annotated(f"{rule.__name__}.update", rule.update)
    if "lr" not in options_of(rule.update):
        raise TypeError(f"{rule.__name__}.update needs a hyperparameter lr after a star: update(…, *, lr: …)")
