"""L-BFGS, a quasi-Newton method that evaluates the loss itself, through a closure."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.optim.lbfgs_state import ClosureUpdate, History, dot, largest
from optrun.optim.line_search import Point, strong_wolfe
from optrun.optim.optimizer import Optimizer
from optrun.optim.param_group import ParamGroup
from optrun.optim.rule import Rule
from optrun.registry import NonNegative, PositiveInt


class LBFGS(Optimizer):
    """Limited-memory BFGS, Nocedal (1980), doi:10.1090/S0025-5718-1980-0572855-7, in torch's form.

        d = -H g,  H the inverse Hessian approximated by the last pairs y = g′ - g, s = θ′ - θ with yᵀs > 10⁻¹⁰
        θ ← θ + α d,  α = lr, in the first iteration lr · min(1, 1/‖g‖₁);  strong_wolfe searches from this α

    A step makes up to max_iter iterations. It ends earlier after max_eval evaluations (5/4 max_iter if null), if |g| ≤
    tolerance_grad everywhere, or if an iteration changes the parameters or the loss by less than tolerance_change.

    It supports one lane and one parameter group; a step needs the closure.

    Example:

        optimizer: {name: LBFGS, line_search_fn: strong_wolfe}
    """

    batched = False
    needs_closure = True

    @staticmethod
    def update(p: Array, evaluate: Callable[[Array], tuple[float, Array]], memory: History, /, *, lr: NonNegative = 1.0,
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

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the only parameter group; ConfigError for a second one."""
        if self.param_groups:
            raise ConfigError("LBFGS: only one parameter group is supported", field="param_groups")
        super().add_param_group(group)

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return the names of the state, which is stored with the first parameter."""
        return tuple(vars(History()))

    def _update_of(self, rule: type[Rule], group: ParamGroup) -> ClosureUpdate:
        return ClosureUpdate(type(self), group, self.params)

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise ConfigError("LBFGS: step needs a closure that computes the gradients and returns the loss")
        (update,) = self._updates
        return update(closure)
