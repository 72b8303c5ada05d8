"""Quadratics with a given condition number and a known minimizer."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from optrun.arrays import Array, Arrays, one_blas_thread, power, stream
from optrun.errors import ConfigError, counted
from optrun.kernels.symbols import number_of_lane
from optrun.kernels.trajectory import Elements
from optrun.ops import sum
from optrun.problems.vectors import MOST_DIMENSIONS, VectorProblem, vectors_of
from optrun.registry import Added, PerLane, Positive, Unless

HALF = 0.5
Spectrum = Annotated[
    list[Positive] | dict[str, float] | None,
    Added(),
    PerLane(unless="rotation"),
    "the eigenvalues, {power_law: exponent}, or {two_clusters: eigenvalue, share: 0.5}",
]
MOST_ROTATED = 5_000
"""Largest number of dimensions with a rotation, which is a dense matrix."""


class Quadratic(VectorProblem):
    """A convex quadratic whose Hessian has eigenvalues 1 … condition, evenly spaced on a log scale, or given ones.

        f(x) = ½ (x - x*)ᵀ H (x - x*)        H = Q diag(λ) Qᵀ

    ``spectrum`` lists the eigenvalues, or is ``{power_law: a}``, λᵢ = i⁻ᵃ, or ``{two_clusters: c, share: s}``: 1, and
    for a share of them, by default half, c. With ``noise`` it is the noisy quadratic model of Zhang et al. (2019),
    arXiv:1907.04164.

    Q is a random rotation if ``rotation`` is set, otherwise the identity. Q and x* ~ N(0, I) depend only on
    ``problem_seed``, so all runs have the same function. Starts at the origin.

    Raises ConfigError for a condition number above 1 in one dimension, and for a spectrum that does not fit.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        dim: Annotated[int, Ge(1), Le(MOST_DIMENSIONS)] = 10,
        condition: Annotated[
            float,
            Ge(1),
            PerLane(unless="rotation"),
            Unless("spectrum"),
            "largest over smallest eigenvalue of the Hessian",
        ] = 100.0,
        spectrum: Spectrum = None,
        rotation: Annotated[
            bool, "whether the axes of the level sets are turned by a random rotation"
        ] = False,
        problem_seed: Annotated[int, Ge(0), "the instance: its minimizer and its rotation"] = 0,
        **options: Any,
    ) -> None:
        chosen = {"dim": dim, "condition": condition, "spectrum": spectrum, "rotation": rotation}
        self.validate_options(chosen)
        self.dim, self.condition = dim, condition
        self.spectrum: Any = spectrum
        super().__init__(arrays, **options)
        draws = stream(problem_seed, "quadratic")
        self._minimizer = draws.standard_normal(dim)
        self._hessian: Array | None = None
        if rotation:
            # Products with H are computed lane by lane, so the elements of a lane must be contiguous.
            self.lane_fast = False
            with one_blas_thread:
                q = _rotation(draws, dim)
                self._hessian = arrays.array((q * self._spectrum[0]) @ q.T)

    @staticmethod
    def validate_options(options: Mapping[str, Any]) -> None:
        """Raise ConfigError for options that do not go together."""
        dim, spectrum = options["dim"], options.get("spectrum")
        condition = 1.0 if spectrum is not None else options["condition"]
        _check_spectrum(spectrum, dim)
        if dim == 1 and condition > 1:
            raise ConfigError(
                f"condition: one dimension has one eigenvalue, so it must be 1, not {condition:g}",
                field="condition",
            )
        if options["rotation"] and dim > MOST_ROTATED:
            raise ConfigError(
                f"dim: a rotation is a matrix of dim × dim numbers: at most {MOST_ROTATED:,}, not {dim:,}",
                field="dim",
            )

    @property
    def _spectrum(self) -> Array:
        """The eigenvalues of each lane, ``[B or 1, dim]``."""
        if isinstance(self.spectrum, list):
            return np.atleast_2d(vectors_of(self.spectrum))
        if self.spectrum is not None:
            given = {name: np.reshape(value, (-1, 1)) for name, value in self.spectrum.items()}
            index = np.arange(1.0, self.dim + 1)
            if "power_law" in given:
                return power(index, -given["power_law"])
            few = self.dim - np.rint(given.get("share", HALF) * self.dim)
            return np.where(index > few, given["two_clusters"], 1.0)
        # One by one: of several together NumPy computes each in another way where one of them is 1.
        return np.stack([np.geomspace(1.0, each, self.dim) for each in np.ravel(self.condition)])

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        return [{"x": self._minimizer}]

    @property
    def elements(self) -> Elements | None:
        return self._elements() if self._hessian is None else None

    def _value(self, x: Any) -> Any:
        return 0.5 * sum((number_of_lane("scale", (self.dim,)) * (x - self._minimizer)) ** 2)

    def _numbers(self) -> Mapping[str, Array]:
        return {"scale": np.sqrt(self._spectrum)}

    def hessian_times(self, params: Mapping[str, Array], vectors: Array, batch: Any = None) -> Array:
        if self._hessian is None:
            return super().hessian_times(params, vectors)
        products: Array = np.matmul(
            self.arrays.to_host(self._hessian).astype(np.float64), vectors[:, :, None]
        )
        return products[:, :, 0]

    def _bind(self, x: Array, grad: Array) -> Callable[[], Array]:
        if self._hessian is None:
            return super()._bind(x, grad)
        return partial(self._rotated, self._hessian, self.arrays.array(self._minimizer), x, grad)

    def _bind_value(self, x: Array) -> Callable[[], Array]:
        return (
            super()._bind_value(x) if self._hessian is None else self._bind(x, self.scratch("grad", *x.shape))
        )

    def _rotated(self, hessian: Array, minimizer: Array, x: Array, grad: Array) -> Array:
        xp = self.arrays.xp
        error, product = self.scratch("lanes", 2, *x.shape)
        xp.subtract(x, minimizer, out=error)
        xp.matmul(hessian, error[:, :, None], out=product[:, :, None])
        grad[...] = product
        xp.multiply(error, product, out=error)
        total = xp.sum(error, axis=1, out=product[:, 0])
        loss: Array = xp.multiply(total, 0.5, out=error[:, 0])
        return loss


def _check_spectrum(spectrum: Any, dim: int) -> None:
    """Raise ConfigError unless it is one of as many dimensions."""
    said = ""
    if isinstance(spectrum, list) and len(spectrum) != dim:
        said = f"{counted(dim, 'number')} expected, one per dimension, not {len(spectrum)}"
    elif isinstance(spectrum, dict):
        share = spectrum.get("share", HALF)
        if spectrum.keys() not in ({"power_law"}, {"two_clusters"}, {"two_clusters", "share"}):
            said = "a list of eigenvalues, {power_law: exponent} or {two_clusters: eigenvalue, share: 0.5}"
        elif "two_clusters" in spectrum and not (spectrum["two_clusters"] > 0 and 0 < share < 1):
            said = "two_clusters must be > 0, and share between 0 and 1"
    if said:
        raise ConfigError(f"spectrum: {said}", field="spectrum")


def _rotation(draws: np.random.Generator, dim: int) -> Array:
    """Return a uniformly distributed rotation: Q of a Gaussian matrix's QR decomposition with positive diagonal of R.

    F. Mezzadri (2007), How to generate random matrices from the classical compact groups,
    arXiv:math-ph/0609050.
    """
    q, r = np.linalg.qr(draws.standard_normal((dim, dim)))
    q *= np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] *= -1
    return q
