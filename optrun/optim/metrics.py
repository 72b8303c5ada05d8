"""Metrics of curves: what is recorded at a step, or evaluated, besides the loss and the hyperparameters.

A metric is a class with one static method, whose arguments say what it needs::

    class GradMax(CurveMetric):
        '''max |g|, the largest entry of the gradient.'''

        @staticmethod
        def measure(g):
            return abs(g).max(axis=-1)

They are flat, ``[B, P]``: the parameters `p` before the update, the gradient `g`, the update `u`. It returns one number
per lane, ``[B]``, which depends on this lane alone, to the bit (sums are those of `lane_sum`), and writes into none of
them. One that needs `p` alone can be evaluated too (`evaluate.metrics`).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array, lane_sum
from optrun.errors import fold
from optrun.plugin_code import contract_error, shape_text
from optrun.registry import metrics, snake_case
from optrun.store.types import FIRST_COLUMNS


class CurveMetric:
    """One number per lane and step, registered under its class name in snake case."""

    measure: ClassVar[Callable[..., Any]]
    """Returns the numbers ``[B]``; a static method of every metric."""

    needs: ClassVar[tuple[str, ...]]
    """What `measure` takes, of p, g and u."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        if not hasattr(cls, "measure"):
            metrics.add_lacking(cls, "measure(p, g, u)")
            return
        cls.needs = tuple(inspect.signature(cls.measure).parameters)
        if not cls.needs or not {"p", "g", "u"}.issuperset(cls.needs):
            raise TypeError(f"{cls.__name__}.measure takes some of p, g and u")
        name = snake_case(cls.__name__)
        if fold(name) in FIRST_COLUMNS:
            raise TypeError(f"{cls.__name__}: its column would be {name}, which every curve has")
        metrics.add(cls, name)

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Array:
        """Return the numbers, given the arrays by name; PluginError where they are not ``[B]``."""
        found: Array = cls.measure(*(arrays[name] for name in cls.needs))
        if getattr(found, "shape", None) != (lanes := arrays[cls.needs[0]].shape[:1]):
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


def norm(values: Array) -> Array:
    """Return the Euclidean norm of each lane, float64 ``[B]``."""
    wide = values.astype(np.float64)
    found: Array = np.sqrt(lane_sum(wide * wide))
    return found
