"""Directions of old, along which a line search chooses the step: gradient descent and conjugate gradients."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from optrun.arrays import Array
from optrun.optim.closures import ClosureRule, Evaluate, Memory, dot, largest
from optrun.optim.line_search import Point, strong_wolfe
from optrun.registry import NonNegative, PositiveInt

Slope = Annotated[float, Gt(0), Lt(1)]


class Searched(Memory):
    """The last step size and the slope along its direction; the step before the first has size 0."""

    def __init__(self) -> None:
        self.t = 0.0
        self.slope = 0.0

    def first(self, g: Array, slope: float, lr: float) -> float:
        """Return the step from which a search begins: one that changes the loss as the last one did, if it is linear.

        α = lr min(1, 1 / ‖g‖₁) in the first search, then lr α′ f′(0)′ / f′(0);  Nocedal & Wright (2006), section 3.5
        """
        if not self.t:
            return lr * min(1.0, 1.0 / float(abs(g).sum()))
        return lr * self.t * self.slope / slope


class GradientDescent(ClosureRule):
    """Gradient descent whose step a line search chooses: Armijo (1966), doi:10.2140/pjm.1966.16.1.

        θ ← θ - α g,  α the first of the trials β, c β, c² β, … with  f(θ - α g) ≤ f(θ) - c₁ α ‖g‖²

    c decrease; β = min(lr, increase · the last α), in the first step lr. With strong_wolfe α satisfies the strong Wolfe
    conditions with c₁ and c₂, from a first trial of lr min(1, 1 / ‖g‖₁), then of lr times what changed a linear loss as
    the last step did. Where max_eval trials fail the parameters stay, and the next step goes on with smaller ones;
    optax takes the last trial.

    It supports one lane and one parameter group; a step needs the closure.

    Example:

        optimizer: {name: GradientDescent}
    """

    memory = Searched
    search_space: ClassVar = {"lr": {"loguniform": [0.1, 1000.0]}, "decrease": {"uniform": [0.2, 0.9]}}

    @staticmethod
    def update(p: Array, evaluate: Evaluate, memory: Searched, /, *, lr: NonNegative = 1.0,
               line_search_fn: Literal["armijo", "strong_wolfe"] = "armijo", decrease: Slope = 0.5,
               increase: Annotated[float, Ge(1)] = 2.0, c1: Slope = 1e-4, c2: Slope = 0.9,
               max_eval: PositiveInt = 25, tolerance_grad: NonNegative = 0.0) -> Array:  # fmt: skip
        loss, g = evaluate(p)
        if largest(g) <= tolerance_grad:
            return p
        slope = -dot(g, g)
        if not slope < 0:  # too small for the dtype
            return p
        if line_search_fn == "strong_wolfe":
            start, step = Point(0.0, loss, g, slope), memory.first(g, slope, lr)
            found = _found(p, -g, evaluate, start, step, max_eval, c1, c2)
            memory.t, memory.slope = found, slope
            return p - found * g
        step = min(increase * memory.t, lr) if memory.t else lr
        for _ in range(max_eval):
            memory.t = step
            if evaluate(p - step * g)[0] <= loss + c1 * step * slope:
                return p - step * g
            step = decrease * step
        return p


class Conjugate(Searched):
    """The last gradient and direction, too."""

    def __init__(self) -> None:
        super().__init__()
        self.d: Array = np.empty(0)
        self.prev_flat_grad: Array = np.empty(0)


class NonlinearCG(ClosureRule):
    """Nonlinear conjugate gradients, Algorithm 5.4 of Nocedal & Wright (2006), doi:10.1007/978-0-387-40065-5.

        d ← -g + β d,  or -g if that is no descent, or in the first step
        θ ← θ + α d,  α by the strong Wolfe conditions with c₁ and c₂

        polak_ribiere      β = max(0, gᵀ y / g′ᵀ g′),  y = g - g′,  g′ and d′ those of the last step
        fletcher_reeves    β = gᵀ g / g′ᵀ g′
        hestenes_stiefel   β = max(0, gᵀ y / d′ᵀ y)
        dai_yuan           β = gᵀ g / d′ᵀ y

    A step makes one iteration. The first trial of α is lr min(1, 1 / ‖g‖₁), then lr times what changes a linear loss as
    the last step did; a search that fails begins anew with -g. SciPy's CG has polak_ribiere, c₂ = 0.4 and another
    search: on quadratics, with a small c₂, all are the method of Hestenes & Stiefel.

    It supports one lane and one parameter group; a step needs the closure.

    Example:

        optimizer: {name: NonlinearCG}
    """

    memory = Conjugate
    search_space: ClassVar = {"lr": {"loguniform": [0.1, 10.0]}, "c2": {"uniform": [0.01, 0.5]}}

    @staticmethod
    def update(p: Array, evaluate: Evaluate, memory: Conjugate, /, *, lr: NonNegative = 1.0,
               formula: Literal["polak_ribiere", "fletcher_reeves", "hestenes_stiefel", "dai_yuan"] = "polak_ribiere",
               c1: Slope = 1e-4, c2: Slope = 0.1, max_eval: PositiveInt = 25, tolerance_grad: NonNegative = 0.0
               ) -> Array:  # fmt: skip
        loss, g = evaluate(p)
        if largest(g) <= tolerance_grad:
            return p
        d = -g
        if memory.t:
            d = d + FORMULAS[formula](g, memory.prev_flat_grad, memory.d) * memory.d
        slope = dot(g, d)
        if not slope < 0:
            d, slope = -g, -dot(g, g)
        if not slope < 0:  # too small for the dtype
            return p
        start, step = Point(0.0, loss, g, slope), memory.first(g, slope, lr)
        found = _found(p, d, evaluate, start, step, max_eval, c1, c2)
        memory.t, memory.slope, memory.d, memory.prev_flat_grad = found, slope, d, g
        return p + found * d


def _polak_ribiere(g: Array, before: Array, d: Array) -> float:
    return max(0.0, _over(dot(g, g - before), dot(before, before)))


def _fletcher_reeves(g: Array, before: Array, d: Array) -> float:
    return _over(dot(g, g), dot(before, before))


def _hestenes_stiefel(g: Array, before: Array, d: Array) -> float:
    return max(0.0, _over(dot(g, g - before), dot(d, g - before)))


def _dai_yuan(g: Array, before: Array, d: Array) -> float:
    return _over(dot(g, g), dot(d, g - before))


def _over(x: float, y: float) -> float:
    """Return x / y, and 0, with which a search begins anew, where y is too small for the dtype."""
    return x / y if y else 0.0


FORMULAS: dict[str, Callable[[Array, Array, Array], float]] = {
    "polak_ribiere": _polak_ribiere,
    "fletcher_reeves": _fletcher_reeves,
    "hestenes_stiefel": _hestenes_stiefel,
    "dai_yuan": _dai_yuan,
}


def _found(
    p: Array,
    d: Array,
    evaluate: Evaluate,
    start: Point[Array],
    step: float,
    max_eval: int,
    c1: float,
    c2: float,
) -> float:
    """Return the step size along a direction by the strong Wolfe conditions."""

    def evaluate_at(step: float) -> Point[Array]:
        loss, g = evaluate(p + step * d)
        return Point(step, loss, g, dot(g, d))

    found, _ = strong_wolfe(evaluate_at, start, step, largest(d), max_eval, c1=c1, c2=c2)
    return found.step
