"""Diagnostics: functions with one difficulty each, which a run passes or fails."""

from typing import Any

import numpy as np

from optrun.ops import detach, sum, where
from optrun.problems.function import Dim, Function, TwoOrMore


class Saddle(Function):
    """A diagnostic: between two minima, a saddle that every run starts close to; what follows x² alone stays there.

        f(x, y) = x² + (y² - 1)²/4

    Starts at (1, 10⁻⁴), where ∂f/∂y is -10⁻⁴; the saddle at the origin is ¼ above the minima at (0, ±1). What fails
    lacks the steps, or the momentum, by which a slope of 10⁻⁴ grows.
    """

    minimum, minimizers, start, domain = 0.0, [[0.0, 1.0], [0.0, -1.0]], [1.0, 1e-4], (-2.0, 2.0)
    passes = 1e-6

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return x**2 + 0.25 * (y**2 - 1) ** 2


class Plateau(Function):
    """A diagnostic: a hole in a plateau whose slope, where runs start, is 4·10⁻⁵ and tells only the direction.

        f(x) = s / (1 + s)        s = Σᵢ xᵢ²

    Starts at (30, 20, …). What fails lacks steps that do not shrink with the gradient, as SGD, also with momentum.
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [30.0, 20.0], (-40.0, 40.0)
    passes = 1e-6

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        s = sum(x**2)
        return s / (1 + s)


class ScaleVaryingValley(Function):
    """A diagnostic: a straight valley whose walls are 300 times as steep at its end as where runs start.

        f(x, y) = x² + 100 (y - x)² / (1 + x²)²

    Starts at (-4, 0). A rate that the end bears is too small for the floor of the valley: what fails lacks momentum.
    """

    minimum, minimizers, start = 0.0, [[0.0, 0.0]], [-4.0, 0.0]
    passes = 1e-6

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return x**2 + 100 * (y - x) ** 2 / (1 + x**2) ** 2


class LayeredScales(Function):
    """A diagnostic: parameters as of layers of different scales, each the larger the smaller its gradient.

        f(x) = Σᵢ (sᵢ xᵢ - 1)²        sᵢ from 0.1 to 10

    Starts at 0. What fails lacks a scale for each parameter: one rate is 10⁴ times too large, or too small, for some.
    """

    minimum, start, domain = 0.0, [0.0], (-20.0, 20.0)
    minimizers: Any = lambda n: [np.logspace(1.0, -1.0, n)]
    passes = 1e-6

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 5) -> Any:
        return sum((np.logspace(-1.0, 1.0, dim) * x - 1) ** 2)


class Flip(Function):
    """A diagnostic: on the way down y the optimum of x flips from 1 to -1, where f is a hundred times as flat in x.

        f(x, y) = (y + 1)²/2 + 100 (x - 1)²    where y ≥ 0
                  (y + 1)²/2 + (x + 1)²        where y < 0

    Starts at (0, 4). What fails cannot forget: its steps are still those for past gradients, as Adagrad's, or its rate
    has decayed.
    """

    minimum, minimizers, start = 0.0, [[-1.0, -1.0]], [0.0, 4.0]
    passes = 1e-6

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (y + 1) ** 2 / 2 + where(y < 0, (x + 1) ** 2, 100 * (x - 1) ** 2)


class Minimax(Function):
    """A diagnostic: of a x²/2 + x y - a y²/2, a = 1/5, x seeks the minimum and y the maximum: the saddle at 0.

        f(x, y) = a (x² + y²)/2 + x ȳ - x̄ y        x̄, ȳ are x and y, constant for the gradient

    f, the sum of the losses of both, has the gradient (a x + y, a y - x), which leads around 0. Starts at (1, 1). What
    fails lacks damping of a rotation: momentum adds to it.
    """

    minimum, minimizers, start = 0.0, [[0.0, 0.0]], [1.0, 1.0]
    passes = 1e-6

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return 0.1 * (x**2 + y**2) + x * detach(y) - detach(x) * y
