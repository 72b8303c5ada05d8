"""Noise of gradients and values: how what a run is told of a function differs from the function."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Le, Lt, MinLen
from pydantic import AfterValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from optrun.arrays import Array
from optrun.checks.messages import MISSING, failure, in_words, not_one_of, unknown_key
from optrun.registry import NonNegative, PerLane, Positive, PositiveInt, options_of, snake_case

KINDS: dict[str, type["NoiseKind"]] = {}


class NoiseKind(ABC):
    """A kind of noise, by its class name in snake case; options are the keyword-only arguments of ``__init__``.

    Each float among them is a number, or an array ``[B]``. What is drawn is drawn on the host, for each lane from its
    own seed; `apply` changes the gradient ``[n, B]`` or the value ``[B]`` in place, without mixing lanes. It may be
    called again for the same step, so it keeps what later steps need in slots of their own.
    """

    slots: int = 0
    """How many arrays ``[n, B]`` are kept from step to step, and in checkpoints."""
    shaping: ClassVar[tuple[str, ...]] = ()
    """The options on which `draw` depends; all others only on `prepared`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        KINDS[snake_case(cls.__name__)] = cls

    def draw(self, random: np.random.Generator, shape: tuple[int, int], **options: float) -> Array | None:
        """Return what is drawn for steps × dimensions; None if nothing is."""
        return None

    def prepared(self, drawn: Array, first: int) -> Array:
        """Return draws ``[steps, n, B]`` from step ``first`` on as `apply` takes those of a step."""
        return drawn

    @abstractmethod
    def apply(self, xp: Any, loss: Array, grad: Array, drawn: Array, kept: Array, t: int) -> None:
        """Change the loss or the gradient of step t."""


class Gaussian(NoiseKind):
    """g + scale · ξ with ξ ~ N(0, I)."""

    def __init__(self, *, scale: NonNegative) -> None:
        self.scale = scale

    def draw(self, random: np.random.Generator, shape: tuple[int, int], **options: float) -> Array | None:
        return random.standard_normal(shape)

    def prepared(self, drawn: Array, first: int) -> Array:
        # Alone, a lane without noise adds nothing; -0.0 changes no bit, as 0.0 would of a -0.0.
        return np.where(self.scale, np.multiply(self.scale, drawn), -0.0)

    def apply(self, xp: Any, loss: Array, grad: Array, drawn: Array, kept: Array, t: int) -> None:
        xp.add(grad, drawn, out=grad)


class HeavyTailed(Gaussian):
    """g + scale · τ, where each coordinate of τ has Student's distribution: of infinite variance for df ≤ 2."""

    shaping = ("df",)

    def __init__(self, *, scale: NonNegative, df: Annotated[Positive, "degrees of freedom"] = 2.0) -> None:
        super().__init__(scale=scale)
        self.df = df

    def draw(self, random: np.random.Generator, shape: tuple[int, int], **options: float) -> Array | None:
        return random.standard_t(options["df"], shape)


class Correlated(Gaussian):
    """g + eₜ, autoregressive of first order: eₜ = rho · eₜ₋₁ + √(1 - rho²) scale · ξₜ with e₀ = scale · ξ₀."""

    slots = 2

    def __init__(self, *, scale: NonNegative, rho: Annotated[float, Gt(-1), Lt(1)] = 0.9) -> None:
        super().__init__(scale=scale)
        self.rho = rho

    def prepared(self, drawn: Array, first: int) -> Array:
        new: Array = np.sqrt(1 - np.square(self.rho)) * self.scale * drawn
        if first == 0:
            new[0] = self.scale * drawn[0]
        return new

    def apply(self, xp: Any, loss: Array, grad: Array, drawn: Array, kept: Array, t: int) -> None:
        now = kept[t % 2]
        xp.multiply(kept[(t - 1) % 2], xp.asarray(self.rho, grad.dtype), out=now)
        xp.add(now, drawn, out=now)
        xp.add(grad, now, out=grad)


class Value(Gaussian):
    """f + scale · ξ, of the loss and not of the gradient."""

    def draw(self, random: np.random.Generator, shape: tuple[int, int], **options: float) -> Array | None:
        return random.standard_normal((shape[0], 1))

    def apply(self, xp: Any, loss: Array, grad: Array, drawn: Array, kept: Array, t: int) -> None:
        xp.add(loss, drawn[0], out=loss)


class Quantised(NoiseKind):
    """g rounded to multiples of step: to the nearest, or up and down at random so that the mean is g."""

    def __init__(self, *, step: Positive, stochastic: bool = False) -> None:
        self.step, self.stochastic = step, stochastic

    def draw(self, random: np.random.Generator, shape: tuple[int, int], **options: float) -> Array | None:
        return random.random(shape) if self.stochastic else None

    def apply(self, xp: Any, loss: Array, grad: Array, drawn: Array, kept: Array, t: int) -> None:
        step = xp.asarray(self.step, grad.dtype)
        xp.divide(grad, step, out=grad)
        if self.stochastic:
            xp.add(grad, drawn, out=grad)
        (xp.floor if self.stochastic else xp.rint)(grad, out=grad)
        xp.multiply(grad, step, out=grad)


class Delayed(NoiseKind):
    """The gradient of so many steps before; that of the first step until then."""

    def __init__(self, *, steps: Annotated[PositiveInt, Le(1_000)]) -> None:
        self.steps, self.slots = steps, steps + 1

    def apply(self, xp: Any, loss: Array, grad: Array, drawn: Array, kept: Array, t: int) -> None:
        kept[t % self.slots][...] = grad
        grad[...] = kept[max(t - self.steps, 0) % self.slots]


class Sparse(NoiseKind):
    """Each coordinate of g with the probability fraction, divided by it, else 0: the mean is g."""

    def __init__(self, *, fraction: Annotated[float, Gt(0), Le(1)]) -> None:
        self.fraction = fraction

    def draw(self, random: np.random.Generator, shape: tuple[int, int], **options: float) -> Array | None:
        return random.random(shape)

    def prepared(self, drawn: Array, first: int) -> Array:
        return np.where(drawn < self.fraction, 1 / np.asarray(self.fraction), 0.0)

    def apply(self, xp: Any, loss: Array, grad: Array, drawn: Array, kept: Array, t: int) -> None:
        xp.multiply(grad, drawn, out=grad)
        xp.copyto(grad, 0, where=drawn == 0)  # also of an infinite gradient


def _read(given: dict[str, Any]) -> dict[str, Any]:
    """Return a kind with all of its options; raises ValidationError for each mistake."""
    if "kind" not in given:
        raise failure((("kind",), MISSING))
    name = given["kind"]
    if not isinstance(name, str) or name not in KINDS:
        raise failure((("kind",), not_one_of(list(KINDS), name)))
    options = options_of(KINDS[name].__init__)
    wrong: list[tuple[tuple[str | int, ...], PydanticCustomError]] = [
        ((key,), unknown_key(["kind", *options])) for key in given if key not in ("kind", *options)
    ]
    read = {"kind": name}
    for key, option in options.items():
        if key in given:
            try:
                read[key] = option.validated(given[key])
            except ValidationError as error:
                wrong += [((key, *each["loc"]), in_words(each)) for each in error.errors(include_url=False)]
        elif option.required:
            wrong.append(((key,), MISSING))
        else:
            read[key] = option.default
    if wrong:
        raise failure(*wrong)
    return read


_OF_A_KIND = WithJsonSchema(
    {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": list(KINDS)}}}
)
_Kind = Annotated[dict[str, Any], AfterValidator(_read), _OF_A_KIND]
_Gaussian = Annotated[NonNegative, AfterValidator(lambda scale: {"kind": "gaussian", "scale": scale})]
Noise = Annotated[
    NonNegative | _Kind | Annotated[list[_Gaussian | _Kind], MinLen(1)],
    PerLane(),
    "of the gradient: standard deviation, ≥ 0, of Gaussian noise; or a mapping with a kind, or several in turn",
]
