"""Test functions with known minimizers, for plots of optimizer paths and checks by hand."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from optrun.arrays import Array, Arrays, lane_sum
from optrun.problems.vectors import MOST_DIMENSIONS, VectorProblem


class Rosenbrock(VectorProblem):
    """Rosenbrock's function (1960), doi:10.1093/comjnl/3.3.175, in any number of dimensions.

        f(x) = Σᵢ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²        i = 1 … dim - 1

    Starts at (-1.2, 1, -1.2, 1, …); lowest at (1, …, 1).
    """

    pure = True

    def __init__(
        self, arrays: Arrays, *, dim: Annotated[int, Ge(2), Le(MOST_DIMENSIONS)] = 2, **options: Any
    ) -> None:
        self._dim = dim
        super().__init__(arrays, **options)
        self._one, self._half, self._minus_two, self._200 = map(arrays.array, (1.0, 0.5, -2.0, 200.0))

    @property
    def dim(self) -> int:
        return self._dim

    def _usual_start(self) -> Array:
        return np.resize([-1.2, 1.0], self.dim)

    def _minimizers(self) -> Sequence[Sequence[float]]:
        return [[1.0] * self.dim]

    def _workspace(self, lanes: int) -> tuple[Array, ...]:
        rows = self.dim - 1
        # With a row of zeros as padding, the two parts of the gradient are added in one operation.
        from_next, from_this = (self.arrays.array(np.zeros((self.dim, lanes))) for _ in range(2))
        return (from_next, from_this, *self.scratch("rows", 4, rows, lanes))

    def _compute(self, x: Array, grad: Array, *workspace: Array) -> Array:
        xp = self.arrays.xp
        from_next, from_this, u, v, s, r = workspace
        a, u200 = x[:-1], from_next[1:]
        xp.multiply(a, a, out=s)
        xp.subtract(x[1:], s, out=u)
        xp.subtract(self._one, a, out=v)
        xp.multiply(u, self._200, out=u200)
        xp.multiply(a, u200, out=s)
        xp.add(s, v, out=r)
        xp.multiply(r, self._minus_two, out=from_this[:-1])
        xp.add(from_next, from_this, out=grad)
        xp.multiply(u, u200, out=s)
        xp.multiply(s, self._half, out=r)
        xp.multiply(v, v, out=s)
        xp.add(r, s, out=u)
        return lane_sum(u.T)


class Beale(VectorProblem):
    """Beale's function (1958) of two variables, flat in its corners.

        f(x, y) = (1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)²

    Starts at (1, 1); lowest at (3, ½).
    """

    pure = True

    def __init__(self, arrays: Arrays, **options: Any) -> None:
        super().__init__(arrays, **options)
        self._one, self._two = map(arrays.array, (1.0, 2.0))
        self._targets = arrays.array([[1.5], [2.25], [2.625]])
        self._twice_exponents = arrays.array([[2.0], [4.0], [6.0]])

    def _usual_start(self) -> Array:
        return np.array([1.0, 1.0])

    def _minimizers(self) -> Sequence[Sequence[float]]:
        return [[3.0, 0.5]]

    def _workspace(self, lanes: int) -> tuple[Array, ...]:
        powers = self.arrays.array(np.ones((4, lanes)))  # 1, y, y², y³
        terms = self.scratch("terms", 3, 3, lanes)
        return (powers, terms, self.scratch("sums", 2, 3, lanes), *self.scratch("rows", 3, 3, lanes))

    def _compute(self, x: Array, grad: Array, *workspace: Array) -> Array:
        xp = self.arrays.xp
        powers, terms, sums, factors, residuals, s = workspace
        x, y = x
        powers[1] = y
        xp.multiply(y, y, out=powers[2])
        xp.multiply(powers[2], y, out=powers[3])
        xp.subtract(powers[1:], self._one, out=factors)
        xp.multiply(factors, x, out=s)
        xp.add(s, self._targets, out=residuals)
        xp.multiply(powers[:3], self._twice_exponents, out=s)
        xp.multiply(residuals, factors, out=terms[0])
        xp.multiply(residuals, s, out=terms[1])
        xp.multiply(residuals, residuals, out=terms[2])
        xp.add(terms[:, 0], terms[:, 1], out=sums[0])
        xp.add(sums[0], terms[:, 2], out=sums[1])
        xp.multiply(sums[1, 0], self._two, out=grad[0])
        xp.multiply(sums[1, 1], x, out=grad[1])
        loss: Array = sums[1, 2]
        return loss


class Himmelblau(VectorProblem):
    """Himmelblau's function (1972) of two variables, with four minima of equal value.

        f(x, y) = (x² + y - 11)² + (x + y² - 7)²

    Starts at the origin, near the local maximum between them.
    """

    pure = True

    def __init__(self, arrays: Arrays, **options: Any) -> None:
        super().__init__(arrays, **options)
        self._two = arrays.array(2.0)
        self._targets = arrays.array([[11.0], [7.0]])

    def _usual_start(self) -> Array:
        return np.zeros(2)

    def _minimizers(self) -> Sequence[Sequence[float]]:
        return [
            [3.0, 2.0],
            [-2.805118086952745, 3.131312518250573],
            [-3.779310253377747, -3.283185991286170],
            [3.584428340330492, -1.848126526964404],
        ]

    def _workspace(self, lanes: int) -> tuple[Array, ...]:
        return tuple(self.scratch("rows", 3, 2, lanes))

    def _compute(self, x: Array, grad: Array, *workspace: Array) -> Array:
        xp = self.arrays.xp
        residuals, s, r = workspace
        xp.multiply(x, x, out=s)
        xp.add(s, x[::-1], out=r)
        xp.subtract(r, self._targets, out=residuals)  # u = x² + y - 11, v = y² + x - 7
        xp.multiply(x, residuals, out=s)
        xp.multiply(s, self._two, out=r)
        xp.add(r, residuals[::-1], out=s)
        xp.multiply(s, self._two, out=grad)  # 4 x u + 2 v, 4 y v + 2 u
        xp.multiply(residuals, residuals, out=s)
        loss: Array = xp.add(s[0], s[1], out=r[0])
        return loss
