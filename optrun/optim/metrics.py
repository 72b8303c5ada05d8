"""Metrics of curves: what is recorded at a step, or evaluated, besides the loss and the hyperparameters.

A metric is a class with one static method, whose arguments say what it needs::

    class GradMax(CurveMetric):
        '''max |g|, the largest entry of the gradient.'''

        @staticmethod
        def measure(g):
            return abs(g).max(axis=-1)

They are flat, ``[B, P]``: the parameters `p` before the update, the gradient `g`, the update `u`. It returns one number
per lane, ``[B]``, which depends on this lane alone, to the bit (sums are those of `lane_sum`), and writes into none of
them. One that needs `p` alone can be evaluated too (`evaluate.metrics`). One may instead need what is known of the full
objective where it is evaluated, and is no column of the curves then: its `hessian`, its `loss` and its `minimum`,
each ``[B]``, and its `minimizers` ``[M, P]``.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array, lane_sum
from optrun.errors import fold
from optrun.optim.curvature import Hessian, largest_eigenvalue, trace
from optrun.plugin_code import contract_error, shape_text
from optrun.registry import metrics, snake_case
from optrun.store.types import FIRST_COLUMNS

OF_STEPS, OF_OBJECTIVE = ("p", "g", "u"), ("p", "hessian", "loss", "minimum", "minimizers")
"""What metrics need that are recorded at steps, and that are evaluated."""


class CurveMetric:
    """One number per lane and step, registered under its class name in snake case."""

    measure: ClassVar[Callable[..., Any]]
    """Returns the numbers ``[B]``; a static method of every metric."""

    needs: ClassVar[tuple[str, ...]]
    """What `measure` takes: of p, g and u, or of p, hessian, loss, minimum and minimizers."""

    is_recorded: ClassVar[bool]
    """Whether it can be a column of the curves."""
    is_evaluated: ClassVar[bool]
    """Whether it can be evaluated."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        if not hasattr(cls, "measure"):
            metrics.add_lacking(cls, "measure(p, g, u)")
            return
        cls.needs = tuple(inspect.signature(cls.measure).parameters)
        cls.is_recorded, cls.is_evaluated = (set(of).issuperset(cls.needs) for of in (OF_STEPS, OF_OBJECTIVE))
        if not cls.needs or not (cls.is_recorded or cls.is_evaluated):
            raise TypeError(
                f"{cls.__name__}.measure takes some of p, g and u, or some of p, hessian, loss, minimum and "
                "minimizers"
            )
        name = snake_case(cls.__name__)
        if fold(name) in FIRST_COLUMNS:
            raise TypeError(f"{cls.__name__}: its column would be {name}, which every curve has")
        metrics.add(cls, name)

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Array:
        """Return the numbers, given what is known by name, arrays first; PluginError where they are not ``[B]``."""
        found: Array = cls.measure(*(known[name] for name in cls.needs))
        if getattr(found, "shape", None) != (lanes := next(iter(known.values())).shape[:1]):
            what = f"returns {shape_text(found)}, not an array of shape {lanes}: one number for each lane"
            raise contract_error(cls.measure, what)
        return found


class GradNorm(CurveMetric):
    """√Σ g², the length of the gradient over all parameters, before the update."""

    @staticmethod
    def measure(g: Array) -> Array:
        return norm(g)


class UpdateNorm(CurveMetric):
    """√Σ (θ′ - θ)², the length of the update over all parameters."""

    @staticmethod
    def measure(u: Array) -> Array:
        return norm(u)


class ParamNorm(CurveMetric):
    """√Σ θ², the length of the parameters, before the update."""

    @staticmethod
    def measure(p: Array) -> Array:
        return norm(p)


class Sharpness(CurveMetric):
    """λ_max(∇²f), the largest eigenvalue of the Hessian of the full objective, by 32 steps of Lanczos' method."""

    @staticmethod
    def measure(hessian: Hessian) -> Array:
        return largest_eigenvalue(hessian)


class Trace(CurveMetric):
    """tr ∇²f, the trace of the Hessian of the full objective: exact up to 32 parameters, else Hutchinson's estimate.

    mean of zᵀ ∇²f z over 32 vectors z of random signs
    """

    @staticmethod
    def measure(hessian: Hessian) -> Array:
        return trace(hessian)


class Gap(CurveMetric):
    """f(θ) - min f, by how much the full objective is above its minimum, where that is known.

    The minimum of a function is that within its domain: of a run that leaves it, this may be below 0.
    """

    @staticmethod
    def measure(loss: Array, minimum: Array) -> Array:
        found: Array = loss.astype(np.float64) - minimum
        return found


class Distance(CurveMetric):
    """‖θ - θ*‖, how far the parameters are from the nearest minimizer, where these are known."""

    @staticmethod
    def measure(p: Array, minimizers: Array) -> Array:
        return reduce(np.minimum, [norm(p.astype(np.float64) - point) for point in minimizers])


def norm(values: Array) -> Array:
    """Return the Euclidean norm of each lane, float64 ``[B]``."""
    wide = values.astype(np.float64)
    found: Array = np.sqrt(lane_sum(wide * wide))
    return found
