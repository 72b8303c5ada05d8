"""What an update rule declares.

A rule is a class with one static method, whose signature is the schema::

    class SGD(Optimizer):
        @staticmethod
        def update(p, g, t, /, momentum_buffer, *, lr: NonNegative = 1e-3, momentum: NonNegative = 0.0):
            momentum_buffer[:] = where(t == 1, g, momentum * momentum_buffer + g)
            p -= lr * momentum_buffer

The arguments before `/` are the parameters, the gradient and the number of this step (from 1), and after these the
`loss` of the step's batch if the rule has an argument of this name, one number per lane; between `/` and `*` come
the states, initially zero; after `*` the hyperparameters. Floats may differ between lanes and change between steps.
All other hyperparameters are fixed when the rule is traced, so a rule may branch on a bool, but not on a float or `t`.

A rule with ``needs_curvature`` takes h behind t, z ⊙ H z of random signs z, whose mean is the Hessian's diagonal, and
one with ``needs_noise`` v, normal numbers. They are those of this step in every step with (t - 1) mod update_every = 0,
an integer hyperparameter.

A state has the shape of its parameter. A state annotated as `Number` is one float64 per lane instead, and may depend
only on hyperparameters, `t` and other such states. A rule with ``per_tensor`` is traced for each tensor: it may use
`@`, `mT`, `reshape`, `mean` and `norm`, read `p.shape` and `p.fans`, and define other state shapes by `state_shapes`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, get_type_hints

from optrun.errors import ConfigError, brief
from optrun.kernels.program import CURVATURE, NOISE, Program
from optrun.kernels.symbols import adding_up_for
from optrun.kernels.trace import trace
from optrun.plugin_code import guarded
from optrun.registry import Number, Option, check_annotated, checks_nothing, optimizers, options_of

_MAXIMIZE = Option("maximize", bool, False)


class Rule:
    """The declarations of an optimizer class, and the programs traced from its update."""

    tuples: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Hyperparameters that torch combines in a tuple, such as betas."""

    per_tensor: ClassVar[bool] = False
    """Whether the rule is applied to each tensor; an elementwise rule is applied to all elements of a group at once."""

    batched: ClassVar[bool] = True
    """Whether several lanes are supported."""

    needs_closure: ClassVar[bool] = False
    """Whether a step evaluates the loss, possibly several times, through a closure."""

    finds_rate: ClassVar[bool] = False
    """Whether it finds the learning rate itself, so that ``lr`` is a factor of it that is to stay 1."""

    traced: ClassVar[bool] = True
    """Whether its update is traced into a program, as all but code of other libraries is."""

    needs_noise: ClassVar[bool] = False
    """Whether a step reads v, normal numbers, every `update_every` steps."""

    needs_curvature: ClassVar[bool] = False
    """Whether a step reads h, a sample of the Hessian's diagonal, every `update_every` steps."""

    search_space: ClassVar[Mapping[str, Mapping[str, Sequence[float]]]] = {}
    """The distributions of a random search, by hyperparameter as a sweep has them; empty if none is usual."""

    average: ClassVar[str] = ""
    """The state that is an average of the parameters; it is evaluated like them."""

    evaluated: ClassVar[str] = ""
    """The state that is evaluated in place of the parameters, of a rule that takes the gradient elsewhere."""

    derived: ClassVar[Mapping[str, str]] = {}
    """Hyperparameters that are equal to another one of their group unless they are given."""

    update: ClassVar[Callable[..., Any]]
    """Static method of every rule: updates parameters and state in place, given the gradient."""

    def __init_subclass__(cls, *, registered: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_") or not registered:
            return
        if not hasattr(cls, "update"):
            optimizers.add_lacking(cls, "update(p, g, t, /, …, *, lr: …)")
        else:
            _check_signature(cls)
            optimizers.add(cls, cls.__name__)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the hyperparameters by name."""
        return {**options_of(cls.update), _MAXIMIZE.name: _MAXIMIZE}

    @classmethod
    def recipe(cls) -> tuple[Callable[..., "type[Rule]"], tuple[Any, ...]]:
        """Return a function and arguments that give the class, for pickle, which knows no class made on the way."""
        return _itself, (cls,)

    @classmethod
    def reads_every(cls, options: Mapping[str, Any]) -> int:
        """Return in which steps what is given is read: every so many, the first among them."""
        every: int = options["update_every"]
        return every

    @classmethod
    def probe(cls) -> "type[Rule] | None":
        """Return the rule that moves the parameters to where the gradient of a step is taken; None if that is here."""
        return None

    @classmethod
    def defaults_of_options(cls) -> dict[str, Any]:
        """Return the defaults of the hyperparameters that have one, without those that are derived."""
        return {
            name: option.default
            for name, option in cls.options().items()
            if not option.required and name not in cls.derived
        }

    @classmethod
    @checks_nothing
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for hyperparameters that contradict each other."""

    @classmethod
    def validate_parameter(cls, name: str, shape: tuple[int, ...]) -> None:
        """Raise ConfigError for a parameter that the rule cannot update."""

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each state, given the parameter's shape."""
        return dict.fromkeys(cls.states(), shape)

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return the names of the state buffers."""
        parameters = _parameters_of(cls.update)
        return tuple(
            parameter.name
            for parameter in parameters.values()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        )

    @classmethod
    def takes_loss(cls) -> bool:
        """Whether the update depends on the loss of the batch, which is its last argument before the slash then."""
        loss = _parameters_of(cls.update).get("loss")
        return loss is not None and loss.kind is loss.POSITIONAL_ONLY

    @classmethod
    def given(cls) -> tuple[str, ...]:
        """Return what a step reads beside the gradient."""
        return (CURVATURE,) * cls.needs_curvature + (NOISE,) * cls.needs_noise

    @classmethod
    def scalar_states(cls) -> tuple[str, ...]:
        """Return the names of the states that are one number per lane."""
        hints = get_type_hints(cls.update, include_extras=True)
        return tuple(name for name, hint in hints.items() if hint is Number)

    @classmethod
    @cache
    def program(
        cls,
        flags: tuple[tuple[str, Any], ...],
        shape: tuple[int, ...] | None = None,
        dtype: str = "",
        inputs_first: bool = False,
    ) -> Program:
        """Return the rule traced for these values of the non-float hyperparameters.

        A per-tensor rule is traced for a shape and a dtype; ``inputs_first`` tells whether the tensor is `[in, out]`.
        """
        others = dict(flags)
        with guarded(cls.__name__, cls), adding_up_for(cls.__name__):
            return trace(
                cls.update,
                cls.states(),
                [name for name, option in cls.options().items() if option.is_float],
                others,
                maximize=others.pop("maximize"),
                scalar_states=cls.scalar_states(),
                kept=[name for name in (cls.average, cls.evaluated) if name],
                shapes=None if shape is None else {"p": shape, **cls.state_shapes(shape)},
                dtype=dtype,
                inputs_first=inputs_first,
                given=cls.given(),
                takes_loss=cls.takes_loss(),
            )


def _itself(rule: type[Rule]) -> type[Rule]:
    return rule


@cache
def _parameters_of(update: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    # Kept: every step of an optimizer asks for them.
    return inspect.signature(update).parameters


def flags_of(owner: str, values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the non-float hyperparameters as a key of traced programs; ConfigError if a value is not hashable."""
    for name, value in values.items():
        try:
            hash(value)
        except TypeError:
            raise ConfigError(
                f"{owner}: {name} selects a program, so it must be hashable, such as a tuple (got {brief(value)})",
                field=name,
            ) from None
    return tuple(values.items())


def _check_signature(rule: type[Rule]) -> None:
    parameters = list(_parameters_of(rule.update).values())
    first = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]
    if len(first) != 3 + len(rule.given()) + rule.takes_loss() or "loss" in first[:-1]:
        before = "p, evaluate, memory" if rule.needs_closure else "p, g, t"
        before += ", h" * rule.needs_curvature + ", v" * rule.needs_noise
        raise TypeError(f"{rule.__name__}.update takes {before} before a slash: update({before}, /, …)")
    check_annotated(f"{rule.__name__}.update", rule.update)
    if rule.given() and "update_every" not in options_of(rule.update):
        said = "update_every: PositiveInt = …, the steps from one sample to the next"
        raise TypeError(f"{rule.__name__}.update reads samples, so it needs an option {said}")
    if "lr" not in options_of(rule.update):
        raise TypeError(f"{rule.__name__}.update needs a hyperparameter lr after a star: update(…, *, lr: …)")
