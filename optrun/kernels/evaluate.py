"""Evaluation of coefficients on the host, in float64."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from optrun.arrays import Array, lane_sum
from optrun.kernels.bits import BITS, apply_bits
from optrun.kernels.deferred import Deferred, NotDeferredError, power
from optrun.kernels.expand import expansion
from optrun.kernels.program import UFUNCS, Node, nodes_below, part_of


def evaluate(coefficient: Node, t: Array, values: Mapping[str, Array], memo: dict[Node, Array]) -> Array:
    """Return a coefficient in float64 as `[T, B]`; an axis along which it is constant has length 1.

    In a function, which has no steps, a number is `[B or 1, 1]` and a vector `[B or 1, n]`.

    ``t`` is `[T, 1]`, every hyperparameter `[T or 1, B or 1]` and every scalar state `[T, B or 1]`.
    """
    if coefficient not in memo:
        if coefficient.op in ("const", "literal"):
            memo[coefficient] = np.full((1, 1), coefficient.value)
        elif coefficient.op == "constants":
            memo[coefficient] = np.frombuffer(bytes.fromhex(coefficient.name))[None]
        elif coefficient.op == "t":
            memo[coefficient] = t
        elif coefficient.op in ("hyperparameter", "scalar_state"):
            memo[coefficient] = values[coefficient.name]
        elif coefficient.op == "slice":
            whole = evaluate(coefficient.args[0], t, values, memo)
            memo[coefficient] = whole[:, part_of(coefficient.name)]
        elif coefficient.op in _FUNCTIONS:
            args = [evaluate(arg, t, values, memo) for arg in coefficient.args]
            memo[coefficient] = _FUNCTIONS[coefficient.op](*args)
        else:
            elementary = expansion(coefficient.op, "float64", *coefficient.args)
            memo[coefficient] = evaluate(elementary, t, values, memo)
    return memo[coefficient]


def evaluate_scalar_states(
    scalar_states: Mapping[str, Node], t: Array, values: Mapping[str, Array], start: Mapping[str, Array]
) -> dict[str, Array]:
    """Return each scalar state before the first of the steps t and after each of them, `[T + 1, B or 1]` in float64.

    ``start`` holds the states `[B or 1]` before the first step; the other arguments are those of `evaluate`. Raises
    NotDeferredError where a state depends on a deferred number.
    """
    if not scalar_states:
        return {}
    rows = {name: [start[name]] for name in scalar_states}
    # Values that depend on no scalar state are evaluated for all steps at once.
    fixed: dict[Node, Array] = {}
    for value in nodes_below(scalar_states.values()):
        if not any(each.op == "scalar_state" for each in nodes_below([value])):
            evaluate(value, t, values, fixed)
    if any(isinstance(of, Deferred) for of in fixed.values()):
        raise NotDeferredError("a number that is carried from step to step")
    for step in range(len(t)):
        memo = {value: of[step if len(of) > 1 else 0] for value, of in fixed.items()}
        now = {name: of[-1] for name, of in rows.items()}
        for name, value in scalar_states.items():
            rows[name].append(evaluate(value, t[step], now, memo))
    return {name: np.stack(np.broadcast_arrays(*of)) for name, of in rows.items()}


def _bits(op: str, x: Array) -> Array:
    out = np.empty_like(x)
    apply_bits(np, op, x, out)
    return out


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    **UFUNCS,
    "neg": lambda x: np.multiply(x, -1.0),
    "pow": power,
    "where": np.where,
    "sum": lambda x: lane_sum(x.copy())[:, None],
    **{op: partial(_bits, op) for op in BITS},
}
