"""Test functions with many minima."""

from itertools import product
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from optrun.arrays import Arrays
from optrun.ops import abs, cos, exp, mean, norm, prod, sin, sqrt, sum
from optrun.problems.function import Dim, Function


class Ackley(Function):
    """Ackley's function (1987), a hole in a plain with waves.

    f(x) = 20 + e - 20 exp(-0.2 √(mean xᵢ²)) - exp(mean cos 2π xᵢ)
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [2.5, -1.5], (-32.768, 32.768)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return 20 + np.e - 20 * exp(-0.2 * sqrt(mean(x**2))) - exp(mean(cos(2 * np.pi * x)))


class Rastrigin(Function):
    """Rastrigin's function (1974), a bowl with a grid of minima.

    f(x) = Σᵢ xᵢ² + 10 (1 - cos 2π xᵢ)
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [2.3, -1.7], (-5.12, 5.12)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum(x**2 + 10 * (1 - cos(2 * np.pi * x)))


class Griewank(Function):
    """Griewank's function (1981), doi:10.1007/BF00933356, a wide bowl with small waves.

    f(x) = 1 + Σᵢ xᵢ²/4000 - Πᵢ cos(xᵢ / √i)
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [20.0, -15.0], (-600.0, 600.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return 1 + sum(x**2) / 4000 - prod(cos(x / np.sqrt(np.arange(1.0, dim + 1))))


class Levy(Function):
    """Levy's function, Laguna & Martí (2005), doi:10.1007/s10898-004-1936-z.

    f(x) = sin² πw₁ + Σᵢ (wᵢ - 1)² (1 + 10 sin²(πwᵢ + 1)) + (w - 1)² (1 + sin² 2πw)

    wᵢ = 1 + (xᵢ - 1)/4; the sum is over all but the last, which is w.
    """

    minimum, minimizers, start, domain = 0.0, [[1.0]], [-4.0, 5.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        w = 1 + (x - 1) / 4
        middle = sum((w[:-1] - 1) ** 2 * (1 + 10 * sin(np.pi * w[:-1] + 1) ** 2))
        last = (w[-1] - 1) ** 2 * (1 + sin(2 * np.pi * w[-1]) ** 2)
        return sin(np.pi * w[0]) ** 2 + middle + last


class LevyN13(Function):
    """Levy's thirteenth function, of two variables.

    f(x, y) = sin² 3πx + (x - 1)² (1 + sin² 3πy) + (y - 1)² (1 + sin² 2πy)
    """

    minimum, minimizers, start, domain = 0.0, [[1.0, 1.0]], [-4.0, 5.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        first, second, third = sin(3 * np.pi * x) ** 2, sin(3 * np.pi * y) ** 2, sin(2 * np.pi * y) ** 2
        return first + (x - 1) ** 2 * (1 + second) + (y - 1) ** 2 * (1 + third)


class Schwefel(Function):
    """Schwefel's problem 2.26 (1981), whose best minimum is far from the next.

    f(x) = Σᵢ 418.982887 - xᵢ sin √|xᵢ|
    """

    minimum, minimizers, start = 0.0, [[420.96874635998202]], [200.0, -100.0]
    domain = (-500.0, 500.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum(418.98288727243374 - x * sin(sqrt(abs(x))))


class Michalewicz(Function):
    """Michalewicz's function (1992), with steep valleys, the steeper the larger ``m``.

    f(x) = -Σᵢ sin xᵢ sin²ᵐ(i xᵢ² / π)
    """

    start, domain = [2.0, 1.5], (0.0, np.pi)
    minimum_if = "with m: 10, in one or two dimensions"
    minimum: Any = lambda n: {1: -0.8013034100985532, 2: -1.8013034100985532}.get(n)
    minimizers: Any = lambda n: [[2.2029055201726027, np.pi / 2]] if n <= 2 else []

    def __init__(self, arrays: Arrays, **options: Any) -> None:
        super().__init__(arrays, **options)
        if self._options["m"] != 10:
            self.minimum, self.minimizers = None, []

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2, m: Annotated[int, Ge(1)] = 10) -> Any:
        return -sum(sin(x) * sin(np.arange(1.0, dim + 1) * x**2 / np.pi) ** (2 * m))


class Alpine(Function):
    """The first Alpine function, Rahnamayan et al. (2007), with edges in its valleys, lowest in a grid of points.

    f(x) = Σᵢ |xᵢ sin xᵢ + xᵢ/10|
    """

    minimum, start, domain = 0.0, [5.0, -4.0], (-10.0, 10.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return sum(abs(x * sin(x) + 0.1 * x))


class Salomon(Function):
    """Salomon's function (1996), doi:10.1016/0303-2647(96)01621-8, circular waves on a cone.

    f(x) = 1 - cos 2π‖x‖ + ‖x‖/10
    """

    minimum, minimizers, start, domain = 0.0, [[0.0]], [5.2, -4.3], (-100.0, 100.0)

    @staticmethod
    def f(x: Any, /, *, dim: Dim = 2) -> Any:
        return 1 - cos(2 * np.pi * norm(x)) + 0.1 * norm(x)


class DropWave(Function):
    """The drop-wave function, circular waves that fade.

    f(x, y) = -(1 + cos 12 r) / (r²/2 + 2)        r² = x² + y²
    """

    minimum, minimizers, start, domain = -1.0, [[0.0, 0.0]], [1.3, 0.7], (-5.12, 5.12)

    @staticmethod
    def f(x: Any, /) -> Any:
        return -(1 + cos(12 * norm(x))) / (0.5 * sum(x**2) + 2)


class SchafferN2(Function):
    """Schaffer's second function (1985).

    f(x, y) = ½ + (sin²(x² - y²) - ½) / (1 + (x² + y²)/1000)²
    """

    minimum, minimizers, start, domain = 0.0, [[0.0, 0.0]], [5.0, 3.0], (-100.0, 100.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return 0.5 + (sin(x**2 - y**2) ** 2 - 0.5) / (1 + 0.001 * (x**2 + y**2)) ** 2


class SchafferN4(Function):
    """Schaffer's fourth function (1985).

    f(x, y) = ½ + (cos²(sin |x² - y²|) - ½) / (1 + (x² + y²)/1000)²
    """

    minimum, start, domain = 0.29257863203598055, [5.0, 3.0], (-100.0, 100.0)
    minimizers: Any = tuple(
        (sign * 1.2531318314637332, 0.0)[::order] for sign in (1, -1) for order in (1, -1)
    )

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return 0.5 + (cos(sin(abs(x**2 - y**2))) ** 2 - 0.5) / (1 + 0.001 * (x**2 + y**2)) ** 2


class Shubert(Function):
    """Shubert's function (1972), doi:10.1137/0709036, with 18 lowest minima of 760.

    f(x, y) = (Σᵢ i cos((i + 1) x + i)) (Σᵢ i cos((i + 1) y + i))        i = 1 … 5
    """

    minimum, start, domain = -186.73090883102398, [1.0, 1.0], (-10.0, 10.0)
    minimizers: Any = tuple(
        (x + 2 * np.pi * i, y + 2 * np.pi * j)
        for x, y in ((-1.425128428319761, -0.8003211004719731), (-0.8003211004719731, -1.425128428319761))
        for i, j in product((0, 1, -1), repeat=2)
    )

    @staticmethod
    def f(x: Any, /) -> Any:
        i = np.arange(1.0, 6.0)
        return sum(i * cos((i + 1) * x[0] + i)) * sum(i * cos((i + 1) * x[1] + i))


class EggHolder(Function):
    """The egg-holder function, Whitley et al. (1996), whose lowest point is on the border of its domain.

    f(x, y) = -(y + 47) sin √|y + x/2 + 47| - x sin √|x - y - 47|
    """

    minimum, minimizers, start = -959.6406627208506, [[512.0, 404.2318058008512]], [100.0, 100.0]
    domain = (-512.0, 512.0)

    @staticmethod
    def f(x: Any, /) -> Any:
        x, y = x
        return -(y + 47) * sin(sqrt(abs(y + x / 2 + 47))) - x * sin(sqrt(abs(x - y - 47)))


class CrossInTray(Function):
    """The cross-in-tray function, Mishra (2006), with edges along the axes.

    f(x, y) = -(|sin x sin y e^b| + 1)^0.1 / 10⁴        b = |100 - √(x² + y²)/π|
    """

    minimum, start, domain = -2.062611870822739, [3.0, 2.5], (-10.0, 10.0)
    minimizers: Any = tuple(product((1.3494066171539107, -1.3494066171539107), repeat=2))

    @staticmethod
    def f(x: Any, /) -> Any:
        b = abs(100 - norm(x) / np.pi)
        # e^b is too large for float32: it is taken out of the root.
        return -1e-4 * exp(0.1 * b) * (abs(sin(x[0]) * sin(x[1])) + exp(-b)) ** 0.1


class HolderTable(Function):
    """The Hölder table function, Mishra (2006), with four lowest minima in its domain, at (±x, ±y).

    f(x, y) = -|sin x cos y exp |1 - √(x² + y²)/π||
    """

    minimum, start, domain = -19.208502567886732, [5.0, 5.0], (-10.0, 10.0)
    minimizers: Any = tuple(
        product((8.055023475736563, -8.055023475736563), (9.664590019241273, -9.664590019241273))
    )

    @staticmethod
    def f(x: Any, /) -> Any:
        return -abs(sin(x[0]) * cos(x[1]) * exp(abs(1 - norm(x) / np.pi)))
