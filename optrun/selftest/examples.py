"""Small configs of any registered class: what has no default gets a value that its annotation allows."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from optrun.registry import Option, optimizers, problems, schedulers

PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "beale": {},
    "quadratic": {"dim": 6, "condition": 10.0, "rotation": True},
    "mlp": {"data": "iris", "hidden": [6], "bias": False},  # matrices alone, for rules that take nothing else
    "softmax_regression": {"data": "iris"},
    "linear_regression": {"data": "diabetes"},
    "logistic_regression": {"data": "breast_cancer"},
}
"""Options that make a problem small."""

_RATES = {"max_lr": 2.0, "base_lr": 0.5, "swa_lr": 0.5}
"""Rates that a scheduler sets by itself, as multiples of the optimizer's."""

_VALUES: Mapping[str, Any] = {
    "lr": 1e-2,
    "lr_lambda": "0.9 ** t",
    "data": "iris",
    "schedulers": [{"name": "ConstantLR", "total_iters": 2}, {"name": "ExponentialLR", "gamma": 0.9}],
}


def problem(name: str) -> dict[str, Any]:
    """Return a small problem of this name."""
    cls = problems.find(name)
    known = next((options for each, options in PROBLEMS.items() if problems.find(each) is cls), {})
    return {"name": name, **_required(cls.options(), 4), **known}


def optimizer(name: str) -> dict[str, Any]:
    """Return an optimizer of this name."""
    return {"name": name, **_required(optimizers.find(name).options(), 4)}


def scheduler(name: str, steps: int, lr: float) -> dict[str, Any]:
    """Return a scheduler of this name all of whose changes come within so many steps."""
    options: Mapping[str, Option] = schedulers.find(name).options()
    soon = max(1, steps // 4)
    counts = {
        each: soon
        for each, option in options.items()
        if type(option.default) is int and option.default > soon
    }
    given = counts | _required(options, soon)
    given |= {each: factor * lr for each, factor in _RATES.items() if each in options}
    if "total_steps" in options:
        given["total_steps"] = steps
    if "milestones" in given and "schedulers" in given:
        given["milestones"] = [soon]
    return {"name": name, **given}


def _required(options: Mapping[str, Option], count: int) -> dict[str, Any]:
    return {
        name: _VALUES.get(name, _value(option.annotation, option, count))
        for name, option in options.items()
        if option.required
    }


def _value(annotation: Any, option: Option, count: int) -> Any:
    """Return a value of a type, within the option's bounds; None where nothing is known of the type."""
    kind, args = get_origin(annotation), get_args(annotation)
    if kind is Literal:
        return args[0]
    if kind is list:
        item = _value(args[0], option, count)
        return [item, 2 * item] if isinstance(item, int) else [item]
    if args:
        return _value(args[0], option, count)
    low, high = ([bound.limit for bound in option.bounds if bound.sign[0] in signs] for signs in ("≥>", "≤<"))
    if annotation is float:
        return (max(low) + min(high)) / 2 if low and high else max([0.5, *low]) if not high else min(high)
    if annotation is int:
        return min([max([count, *low]), *high])
    return {bool: False, str: "x"}.get(annotation)
