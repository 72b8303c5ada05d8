"""L-BFGS, a quasi-Newton method that evaluates the loss itself, through a closure."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from optrun.arrays import Array
from optrun.optim.closures import ClosureRule, Evaluate, Memory, dot, largest
from optrun.optim.line_search import Point, strong_wolfe
from optrun.registry import NonNegative, PositiveInt

LEAST_CURVATURE = 1e-10


class History(Memory):
    """State of L-BFGS: the last pairs y, s, and the last gradient, direction and step size."""

    def __init__(self) -> None:
        self.n_iter = 0
        self.t = 0.0
        self.H_diag = 1.0
        self.d: Array = np.empty(0)
        self.prev_flat_grad: Array = np.empty(0)
        self.old_dirs: list[Array] = []
        self.old_stps: list[Array] = []
        self.ro: list[float] = []

    def direction(self, g: Array, history_size: int) -> Array:
        """Add the last pair and return the direction -H g, by the two-loop recursion."""
        self.n_iter += 1
        if not self.d.size:
            return -g
        y, s = g - self.prev_flat_grad, self.d * self.t
        if dot(y, s) > LEAST_CURVATURE:
            self.old_dirs = [*self.old_dirs, y][-history_size:]
            self.old_stps = [*self.old_stps, s][-history_size:]
            self.ro = [*self.ro, 1.0 / dot(y, s)][-history_size:]
            self.H_diag = dot(y, s) / dot(y, y)
        pairs = list(zip(self.old_dirs, self.old_stps, self.ro, strict=True))
        d = -g
        weights = []
        for y, s, rho in reversed(pairs):
            weights.append(dot(s, d) * rho)
            d = d - weights[-1] * y
        d = d * self.H_diag
        for (y, s, rho), weight in zip(pairs, reversed(weights), strict=True):
            d = d + (weight - dot(y, d) * rho) * s
        return d

    def shapes(self, entry: Mapping[str, Any], size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the arrays of a state have; it tells the number of pairs."""
        pairs = np.shape(entry.get("old_dirs", 0))[1:2]
        stack = (1, *pairs, size)
        lists = {"old_dirs": stack, "old_stps": stack, "ro": stack[:-1]} if "old_dirs" in entry else {}
        return super().shapes(entry, size) | lists

    @classmethod
    def most_vectors(cls, options: Mapping[str, Any], steps: int) -> int:
        """Return the number of vectors: two, and two per pair; the last iteration of a step stores none.

        A step that converges early stores fewer.
        """
        return int(2 * min(1 + options["history_size"], steps * options["max_iter"]))


class LBFGS(ClosureRule):
    """Limited-memory BFGS, Nocedal (1980), doi:10.1090/S0025-5718-1980-0572855-7, in torch's form.

        d = -H g,  H the inverse Hessian approximated by the last pairs y = g′ - g, s = θ′ - θ with yᵀs > 10⁻¹⁰
        θ ← θ + α d,  α = lr, in the first iteration lr · min(1, 1/‖g‖₁);  strong_wolfe searches from this α

    A step makes up to max_iter iterations. It ends earlier after max_eval evaluations (5/4 max_iter if null), if |g| ≤
    tolerance_grad everywhere, or if an iteration changes the parameters or the loss by less than tolerance_change.

    It supports one lane and one parameter group; a step needs the closure.

    Example:

        optimizer: {name: LBFGS, line_search_fn: strong_wolfe}
    """

    memory = History

    @staticmethod
    def update(p: Array, evaluate: Evaluate, memory: History, /, *, lr: NonNegative = 1.0,
               max_iter: PositiveInt = 20, max_eval: PositiveInt | None = None, tolerance_grad: NonNegative = 1e-7,
               tolerance_change: NonNegative = 1e-9, history_size: PositiveInt = 100,
               line_search_fn: Literal["strong_wolfe"] | None = None) -> Array:  # fmt: skip
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        loss, g = evaluate(p)
        evaluations, moves = 1, 0
        while largest(g) > tolerance_grad:
            d = memory.direction(g, history_size)
            step = lr * min(1.0, 1.0 / float(abs(g).sum())) if memory.n_iter == 1 else lr
            memory.d, memory.t, memory.prev_flat_grad = d, step, g
            start = Point(0.0, loss, g, dot(g, d))
            if start.slope > -tolerance_change:
                break

            def evaluate_at(step: float, p: Array = p, d: Array = d) -> Point[Array]:
                loss, g = evaluate(p + step * d)
                return Point(step, loss, g, dot(g, d))

            moves += 1
            if line_search_fn is not None:
                found, count = strong_wolfe(evaluate_at, start, step, largest(d), max_eval - evaluations)
                evaluations += count
            elif moves < max_iter:
                found = evaluate_at(step)
                evaluations += 1
            else:
                return p + step * d  # the loss at these parameters is not needed
            p = p + found.step * d
            memory.t, loss, g = found.step, found.loss, found.grad
            if (
                moves == max_iter
                or evaluations >= max_eval
                or largest(d * found.step) <= tolerance_change
                or abs(loss - start.loss) < tolerance_change
            ):
                break
        return p
