"""Test functions with a few minima, most of two variables."""

from itertools import product
from typing import Any

import numpy as np

from optrun.ops import cos, exp, sin, sum
from optrun.problems.function import Dim, Function


class ThreeHumpCamel(Function):
    """The three-hump camel function, with three minima.

    f(x, y) = 2 x² - 1.05 x⁴ + x⁶/6 + x y + y²
    """

    minimum, minimizers, start = 0.0, [[0.0, 0.0]], [4.0, -4.0]

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2


class SixHumpCamel(Function):
    """The six-hump camel function, Dixon & Szegő (1978), with six minima, two of which are lowest.

    f(x, y) = (4 - 2.1 x² + x⁴/3) x² + x y + (4 y² - 4) y²
    """

    minimum, start, domain = -1.031628453489877, [1.5, 1.0], ((-3.0, 3.0), (-2.0, 2.0))
    minimizers: Any = ((0.08984201310031806, -0.7126564030207396), (-0.08984201310031806, 0.7126564030207396))

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


class Branin(Function):
    """Branin's function (1972), with three minima of equal value.

    f(x, y) = (y - 5.1/(4π²) x² + 5/π x - 6)² + 10 (1 - 1/(8π)) cos x + 10
    """

    minimum, start, domain = 10 / (8 * np.pi), [2.5, 7.5], ((-5.0, 10.0), (0.0, 15.0))
    minimizers: Any = ((-np.pi, 12.275), (np.pi, 2.275), (3 * np.pi, 2.475))

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        valley = y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6
        return valley**2 + 10 * (1 - 1 / (8 * np.pi)) * cos(x) + 10


class GoldsteinPrice(Function):
    """Goldstein & Price's function (1971), doi:10.1090/S0025-5718-1971-0312365-X, of values from 3 to 10⁶.

    f(x, y) = (1 + (x + y + 1)² (19 - 14 x + 3 x² - 14 y + 6 x y + 3 y²))
              (30 + (2 x - 3 y)² (18 - 32 x + 12 x² + 48 y - 36 x y + 27 y²))
    """

    minimum, minimizers, start, domain = 3.0, [[0.0, -1.0]], [1.5, 1.5], (-2.0, 2.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        first = (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
        second = (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
        return (1 + first) * (30 + second)


class McCormick(Function):
    """McCormick's function, a wave along a diagonal valley; further waves outside its domain are lower.

    f(x, y) = sin(x + y) + (x - y)² - 1.5 x + 2.5 y + 1
    """

    minimum, start, domain = -np.sqrt(3) / 2 - np.pi / 3, [2.0, 2.0], ((-1.5, 4.0), (-3.0, 4.0))
    minimizers: Any = ((0.5 - np.pi / 3, -0.5 - np.pi / 3),)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return sin(x + y) + (x - y) ** 2 - 1.5 * x + 2.5 * y + 1


class StyblinskiTang(Function):
    """Styblinski & Tang's function (1990), doi:10.1016/0893-6080(90)90035-K, with two minima in every dimension.

    f(x) = ½ Σᵢ xᵢ⁴ - 16 xᵢ² + 5 xᵢ
    """

    minimizers, start = [[-2.903534027771177]], [4.0]
    minimum: Any = lambda n: -39.16616570377142 * n

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return 0.5 * sum(x**4 - 16 * x**2 + 5 * x)


class Easom(Function):
    """Easom's function (1990), a hole in a plane.

    f(x, y) = -cos x cos y exp(-(x - π)² - (y - π)²)
    """

    minimum, minimizers, start, domain = -1.0, [[np.pi, np.pi]], [2.0, 2.0], (-100.0, 100.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return -cos(x) * cos(y) * exp(-((x - np.pi) ** 2) - (y - np.pi) ** 2)


class Qing(Function):
    """Qing's function (2006), with a minimum in every orthant.

    f(x) = Σᵢ (xᵢ² - i)²
    """

    minimum, start, domain = 0.0, [10.0], (-500.0, 500.0)
    minimizers: Any = lambda n: (
        [*product(*([x, -x] for x in np.sqrt(np.arange(1.0, n + 1))))] if n <= 10 else []
    )

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum((x**2 - np.arange(1.0, dim + 1)) ** 2)
