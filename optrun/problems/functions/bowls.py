"""Test functions like bowls: one lowest point, and no valley that bends."""

from typing import Any

import numpy as np

from optrun.ops import abs, cos, exp, prod, sum
from optrun.problems.function import Dim, Function, TwoOrMore


class Sphere(Function):
    """The squared length, De Jong's first function (1975).

    f(x) = Σᵢ xᵢ²
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [3.0], (-5.12, 5.12)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum(x**2)


class SumSquares(Function):
    """An ellipsoid whose curvatures grow linearly.

    f(x) = Σᵢ i xᵢ²
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [5.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum(np.arange(1.0, dim + 1) * x**2)


class Ellipsoid(Function):
    """An ellipsoid with condition 10⁶, Hansen & Ostermeier (2001), doi:10.1162/106365601750190398.

    f(x) = Σᵢ 10^(6 (i - 1)/(dim - 1)) xᵢ²
    """

    minimum, minimizers, start = 0.0, [[0.0]], [1.0]

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        return sum(np.logspace(0.0, 6.0, dim) * x**2)


class Discus(Function):
    """One direction is a thousand times as short as the others, Hansen & Ostermeier (2001).

    f(x) = 10⁶ x₁² + Σᵢ xᵢ²        i = 2 … dim
    """

    minimum, minimizers, start = 0.0, [[0.0]], [1.0]

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        return 1e6 * x[0] ** 2 + sum(x[1:] ** 2)


class Cigar(Function):
    """One direction is a thousand times as long as the others, Hansen & Ostermeier (2001).

    f(x) = x₁² + 10⁶ Σᵢ xᵢ²        i = 2 … dim
    """

    minimum, minimizers, start = 0.0, [[0.0]], [1.0]

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        return x[0] ** 2 + 1e6 * sum(x[1:] ** 2)


class DifferentPowers(Function):
    """Every coordinate has a power of its own, Hansen & Ostermeier (2001).

    f(x) = Σᵢ |xᵢ|^(2 + 4 (i - 1)/(dim - 1))
    """

    minimum, minimizers, start = 0.0, [[0.0]], [1.0]

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        return sum(abs(x) ** np.linspace(2.0, 6.0, dim))


class Quartic(Function):
    """A bowl with a flat bottom, De Jong's fourth function (1975) without its noise.

    f(x) = Σᵢ i xᵢ⁴
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [1.0], (-1.28, 1.28)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum(np.arange(1.0, dim + 1) * x**4)


class Schwefel222(Function):
    """Schwefel's problem 2.22 (1981), with edges along the axes.

    f(x) = Σᵢ |xᵢ| + Πᵢ |xᵢ|
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [5.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum(abs(x)) + prod(abs(x))


class Exponential(Function):
    """A dent in a plane, Rahnamayan et al. (2007).

    f(x) = -exp(-½ Σᵢ xᵢ²)
    """

    minimum, minimizers, start, domain = -1.0, [[0.0]], [1.0], (-1.0, 1.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return -exp(-0.5 * sum(x**2))


class Booth(Function):
    """Booth's function of two variables.

    f(x, y) = (x + 2 y - 7)² + (2 x + y - 5)²
    """

    minimum, minimizers, start, domain = 0.0, [[1.0, 3.0]], [-5.0, -5.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


class Matyas(Function):
    """A nearly flat ellipse.

    f(x, y) = 0.26 (x² + y²) - 0.48 x y
    """

    minimum, minimizers, start, domain = 0.0, [[0.0, 0.0]], [8.0, -5.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return 0.26 * (x**2 + y**2) - 0.48 * x * y


class Trid(Function):
    """A quadratic whose Hessian is tridiagonal.

    f(x) = Σᵢ (xᵢ - 1)² - Σᵢ xᵢ xᵢ₋₁        the second sum over i = 2 … dim

    Lowest at xᵢ = i (dim + 1 - i).
    """

    start, domain = [0.0], lambda n: (-n * n, n * n)
    minimum: Any = lambda n: -n * (n + 4) * (n - 1) / 6
    minimizers: Any = lambda n: [np.arange(1.0, n + 1) * np.arange(n, 0.0, -1.0)]

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        return sum((x - 1) ** 2) - sum(x[1:] * x[:-1])


class Zakharov(Function):
    """A plate that bends upwards.

    f(x) = Σᵢ xᵢ² + s² + s⁴        s = ½ Σᵢ i xᵢ
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [2.0], (-5.0, 10.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        s = sum(0.5 * np.arange(1.0, dim + 1) * x)
        return sum(x**2) + s**2 + s**4


class Bohachevsky(Function):
    """A bowl with ripples, Bohachevsky et al. (1986), doi:10.1080/00401706.1986.10488128.

    f(x) = Σᵢ xᵢ² + 2 xᵢ₊₁² - 0.3 cos 3π xᵢ - 0.4 cos 4π xᵢ₊₁ + 0.7        i = 1 … dim - 1
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [20.0, -10.0], (-100.0, 100.0)

    @staticmethod
    def f(x: Any, /, *, dim: TwoOrMore = 2) -> Any:
        waves = 0.3 * cos(3 * np.pi * x[:-1]) + 0.4 * cos(4 * np.pi * x[1:])
        return sum(x[:-1] ** 2 + 2 * x[1:] ** 2 - waves + 0.7)
