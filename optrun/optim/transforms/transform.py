"""What is done to the gradient before a rule, and to its update afterwards.

A transform is a class with one static method, whose signature is the schema::

    class ClipValue(GradientTransform):
        @staticmethod
        def apply(g, p, t, /, *, limit: Positive):
            return clip(g, -limit, limit)

The arguments before `/` are the gradient, the parameters and the number of this step (from 1). Of an update transform
they are the update, which is subtracted from the parameters, the gradient, the parameters, lr and the number of the
step. Between `/` and `*` come states, initially zero; after `*` the options, whose floats may differ between lanes and
change between steps. A transform is traced into the program of the rule, in the words of `optrun.ops`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, get_type_hints

from optrun.hyperparameters import completed
from optrun.registry import (
    Number,
    Option,
    Registry,
    check_annotated,
    gradient_transforms,
    options_of,
    update_transforms,
)


class Transform:
    """A transform with its options.

    Raises ConfigError for unknown or invalid options.
    """

    per_tensor: ClassVar[bool] = False
    """Whether it sees whole tensors; an elementwise one is applied to all elements of a group at once."""

    apply: ClassVar[Callable[..., Any]]
    """Static method of every transform: returns the new gradient, or the new update."""

    _registry: ClassVar[Registry[Any]]
    _given: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "_registry"):
            return
        if not hasattr(cls, "apply"):
            cls._registry.add_lacking(cls, f"apply({cls._given}, /, *, …)")
            return
        parameters = inspect.signature(cls.apply).parameters.values()
        before = sum(parameter.kind is parameter.POSITIONAL_ONLY for parameter in parameters)
        if before != len(cls._given.split(", ")):
            raise TypeError(
                f"{cls.__name__}.apply takes {cls._given} before a slash: apply({cls._given}, /, …)"
            )
        check_annotated(f"{cls.__name__}.apply", cls.apply)
        cls._registry.add(cls, cls.__name__)

    def __init__(self, **options: Any) -> None:
        self.given = completed(self.options(), options, type(self).__name__)
        self.validate_options(self.given)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the options by name."""
        return options_of(cls.apply)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for options that contradict each other."""

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return the names of the states."""
        parameters = inspect.signature(cls.apply).parameters.values()
        return tuple(each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD)

    @classmethod
    def scalar_states(cls) -> tuple[str, ...]:
        """Return the names of the states that are one number per lane."""
        hints = get_type_hints(cls.apply, include_extras=True)
        return tuple(name for name, hint in hints.items() if hint is Number)


class GradientTransform(Transform):
    """Changes the gradient, before the rule sees it."""

    _given = "g, p, t"


class UpdateTransform(Transform):
    """Changes the update of a rule, without its decoupled weight decay, before it is subtracted."""

    _given = "u, g, p, lr, t"


GradientTransform._registry = gradient_transforms
UpdateTransform._registry = update_transforms
