"""Test functions with curved valleys."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le, MultipleOf

from optrun.ops import abs, arctan, exp, sqrt, sum, where
from optrun.problems.function import Function, TwoOrMore
from optrun.problems.vectors import MOST_DIMENSIONS


class Rosenbrock(Function):
    """Rosenbrock's function (1960), doi:10.1093/comjnl/3.3.175, in any number of dimensions.

        f(x) = Σᵢ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²        i = 1 … dim - 1

    Starts at (-1.2, 1, -1.2, 1, …); lowest at (1, …, 1).
    """

    minimum, minimizers, start, domain = 0.0, [[1.0]], [-1.2, 1.0], (-2.0, 2.0)

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        return sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


class Beale(Function):
    """Beale's function (1958) of two variables, flat in its corners.

        f(x, y) = (1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)²

    Starts at (1, 1); lowest at (3, ½).
    """

    minimum, minimizers, start, domain = 0.0, [[3.0, 0.5]], [1.0, 1.0], (-4.5, 4.5)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


class Himmelblau(Function):
    """Himmelblau's function (1972) of two variables, with four minima of equal value.

        f(x, y) = (x² + y - 11)² + (x + y² - 7)²

    Starts at the origin, near the local maximum between them.
    """

    minimum, start, domain = 0.0, [0.0, 0.0], (-5.0, 5.0)
    minimizers: Any = (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170),
        (3.584428340330492, -1.848126526964404),
    )

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


class Cube(Function):
    """A cubic valley, Leon (1966).

    f(x, y) = 100 (y - x³)² + (1 - x)²
    """

    minimum, minimizers, start, domain = 0.0, [[1.0, 1.0]], [-1.2, -1.0], (-1.5, 1.5)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return 100 * (y - x**3) ** 2 + (1 - x) ** 2


class DixonPrice(Function):
    """A chain of valleys, Dixon & Price (1989).

    f(x) = (x₁ - 1)² + Σᵢ i (2 xᵢ² - xᵢ₋₁)²        i = 2 … dim

    Lowest at xᵢ = 2^(2^(1 - i) - 1), the last of either sign.
    """

    minimum, start, domain = 0.0, [-2.0, 3.0], (-10.0, 10.0)
    minimizers: Any = lambda n: [
        2.0 ** (0.5 ** np.arange(n) - 1) * np.append(np.ones(n - 1), sign) for sign in (1, -1)
    ]

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        return (x[0] - 1) ** 2 + sum(np.arange(2.0, dim + 1) * (2 * x[1:] ** 2 - x[:-1]) ** 2)


class Powell(Function):
    """Powell's singular function (1962), doi:10.1093/comjnl/5.2.147, whose Hessian is singular at the minimum.

    f(x) = Σ (a + 10 b)² + 5 (c - d)² + (b - 2 c)⁴ + 10 (a - d)⁴        over blocks a, b, c, d of x
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [3.0, -1.0, 0.0, 1.0], (-4.0, 5.0)

    @staticmethod
    def f(x: Any, /, *, dim: Annotated[int, Ge(4), MultipleOf(4), Le(MOST_DIMENSIONS)] = 4) -> Any:
        a, b, c, d = (x[i::4] for i in range(4))
        return sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


class Wood(Function):
    """Colville's function of four variables (1968), two valleys that are coupled.

    f(a, b, c, d) = 100 (b - a²)² + (1 - a)² + 90 (d - c²)² + (1 - c)²
                    + 10.1 ((b - 1)² + (d - 1)²) + 19.8 (b - 1) (d - 1)
    """

    minimum, minimizers, start, dim = 0.0, [[1.0]], [-3.0, -1.0], 4

    @staticmethod
    def f(x: Any, /) -> Any:
        a, b, c, d = x
        valleys = 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
        return valleys + 10.1 * ((b - 1) ** 2 + (d - 1) ** 2) + 19.8 * (b - 1) * (d - 1)


class HelicalValley(Function):
    """A valley around an axis, Fletcher & Powell (1963), doi:10.1093/comjnl/6.2.163.

    f(x, y, z) = 100 (z - 10 θ)² + 100 (√(x² + y²) - 1)² + z²        2π θ the angle of (x, y)
    """

    minimum, minimizers, start, dim = 0.0, [[1.0, 0.0, 0.0]], [-1.0, 0.0, 0.0], 3

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y, z = x
        turns = arctan(y / x) / (2 * np.pi) + where(x < 0, 0.5, 0.0)
        return 100 * (z - 10 * turns) ** 2 + 100 * (sqrt(x**2 + y**2) - 1) ** 2 + z**2


class FreudensteinRoth(Function):
    """Freudenstein & Roth's function (1963), doi:10.1145/321186.321200, with a second, higher minimum.

    f(x, y) = (-13 + x + ((5 - y) y - 2) y)² + (-29 + x + ((y + 1) y - 14) y)²
    """

    minimum, minimizers, start, domain = 0.0, [[5.0, 4.0]], [0.5, -2.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (-13 + x + ((5 - y) * y - 2) * y) ** 2 + (-29 + x + ((y + 1) * y - 14) * y) ** 2


class BrownBadlyScaled(Function):
    """Variables of very different sizes, Moré et al. (1981), doi:10.1145/355934.355936.

    f(x, y) = (x - 10⁶)² + (y - 2·10⁻⁶)² + (x y - 2)²
    """

    minimum, minimizers, start, domain = 0.0, [[1e6, 2e-6]], [1.0, 1.0], (-1e7, 1e7)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (x - 1e6) ** 2 + (y - 2e-6) ** 2 + (x * y - 2) ** 2


class PowellBadlyScaled(Function):
    """Powell's badly scaled function (1970), Moré et al. (1981), doi:10.1145/355934.355936.

    f(x, y) = (10⁴ x y - 1)² + (e⁻ˣ + e⁻ʸ - 1.0001)²
    """

    minimum, start, domain = 0.0, [0.0, 1.0], (-10.0, 10.0)
    minimizers: Any = (
        (1.0981593296997149e-05, 9.106146739867375),
        (9.106146739867375, 1.0981593296997149e-05),
    )

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (1e4 * x * y - 1) ** 2 + (exp(-x) + exp(-y) - 1.0001) ** 2


class BukinN6(Function):
    """A ridge along a parabola, Bukin (1997).

    f(x, y) = 100 √|y - x²/100| + |x + 10| / 100
    """

    minimum, minimizers, start = 0.0, [[-10.0, 1.0]], [-6.0, 2.0]
    domain = (-15.0, -5.0), (-3.0, 3.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return 100 * sqrt(abs(y - 0.01 * x**2)) + 0.01 * abs(x + 10)
