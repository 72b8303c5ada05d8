"""What is done to the gradient before a rule, to its update afterwards, and around the whole rule.

A transform is a class with one static method, whose signature is the schema::

    class ClipValue(GradientTransform):
        @staticmethod
        def apply(g, p, t, /, *, limit: Positive):
            return clip(g, -limit, limit)

The arguments before `/` are the gradient, the parameters and the number of this step (from 1). Of an update transform
they are the update, which is subtracted from the parameters, the gradient, the parameters, lr and the number of the
step. Between `/` and `*` come states, initially zero; after `*` the options, whose floats may differ between lanes and
change between steps. A transform with ``needs_noise`` takes v behind t, as a rule does. A transform is traced into the
program of the rule, in the words of `optrun.ops`.

A wrapper is a rule with another one inside::

    class Lookahead(Wrapper):
        @staticmethod
        def apply(rule, p, g, lr, t, /, slow, *, k: PositiveInt = 5, alpha: Fraction = 0.5):
            slow[:] = where(t == 1, p, slow)
            rule.step(p, g)
            ...

It changes the parameters and its states in place, as a rule does. `rule.step(p, g)` makes the step of the rule inside,
with its transforms, `rule.step(p, g, t=…, when=…)` as another step of it, and where a condition holds; `rule.update(p,
g)` only returns what that step would subtract from the parameters. A wrapper may
have a static method ``probe(p, g, t, /, *, …)``, instead of ``apply`` or beside it: it moves the parameters, for the
gradient of the step to be taken there.
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
    wrappers,
)


class Transform:
    """A transform with its options.

    Raises ConfigError for unknown or invalid options.
    """

    per_tensor: ClassVar[bool] = False
    """Whether it sees whole tensors; an elementwise one is applied to all elements of a group at once."""

    needs_noise: ClassVar[bool] = False
    """Whether it reads v, normal numbers, in every step."""

    idle: ClassVar[Mapping[str, tuple[float, str]]] = {}
    """Values of options that are hardly meant, and what it does then."""

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
        given = cls._given + ", v" * cls.needs_noise
        if before != len(given.split(", ")):
            raise TypeError(f"{cls.__name__}.apply takes {given} before a slash: apply({given}, /, …)")
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


class Wrapper(Transform):
    """A rule around another one."""

    _given = "rule, p, g, lr, t"

    evaluated: ClassVar[str] = ""
    """The state that is evaluated in place of the parameters, where the gradient is taken elsewhere."""

    outermost: ClassVar[bool] = False
    """Whether it sets the parameters from its own states, so that what another wrapper around it does would be lost."""

    has_momentum: ClassVar[bool] = False
    """Whether it has a momentum, and an average, in place of the rule's momentum and of a schedule that decays."""

    probe: ClassVar[Callable[..., None]]
    """Static method of wrappers that take a second gradient: moves the parameters to where that is, given the first."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if hasattr(cls, "probe"):
            before = [
                each.name
                for each in inspect.signature(cls.probe).parameters.values()
                if each.kind is not each.KEYWORD_ONLY
            ]
            if len(before) != 3:
                raise TypeError(f"{cls.__name__}.probe takes p, g, t before a slash: probe(p, g, t, /, *, …)")
            check_annotated(f"{cls.__name__}.probe", cls.probe)
            if not hasattr(cls, "apply"):
                cls.apply = staticmethod(probing_step)
        super().__init_subclass__(**kwargs)
        if cls.evaluated and cls.evaluated not in cls.states():
            raise TypeError(f"{cls.__name__} evaluates {cls.evaluated!r}, which is none of its states")

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the options by name, those of the probe included."""
        return {**super().options(), **(options_of(cls.probe) if hasattr(cls, "probe") else {})}


def probing_step(rule: Any, p: Any, g: Any, lr: Any, t: Any, /) -> None:
    """Make the rule's step, with the gradient that the probe has chosen."""
    rule.step(p, g)


GradientTransform._registry = gradient_transforms
UpdateTransform._registry = update_transforms
Wrapper._registry = wrappers
