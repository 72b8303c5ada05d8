"""Small configs of any registered class; required options get a value that their annotation allows."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any, Literal, get_args, get_origin

from optrun.errors import ConfigError
from optrun.registry import Option, PathOrName, optimizers, problems, schedulers
from optrun.schedulers import LRScheduler
from optrun.schedulers.function_of_time import FunctionOfTime

PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "beale": {},
    "expression": {
        "f": "(1 - x)**2 + a * sum((y - x) ** 2)",
        "start": {"x": -1.2, "y": [1.0, 0.5]},
        "parameters": {"a": 10.0},
    },
    "quadratic": {"dim": 6, "condition": 10.0, "rotation": True},
    "mlp": {"data": "iris", "hidden": [6], "bias": False},  # no biases: Muon accepts matrices only
    "softmax_regression": {"data": "iris"},
    "linear_regression": {"data": "diabetes"},
    "logistic_regression": {"data": "breast_cancer"},
}
"""Options that make a problem small."""

SCHEDULERS: Mapping[str, Mapping[str, Any]] = {"ChebyshevLR": {"condition": 1.5}}
"""Options with which a schedule keeps near the initial rate."""

_MEMBERS = ({"name": "ConstantLR", "total_iters": 2}, {"name": "ExponentialLR", "gamma": 0.9})
_OF_TYPE = {bool: False, str: "x", FunctionOfTime: "0.9 ** t"}


def problem(name: str) -> dict[str, Any]:
    """Return the config of a small problem of this name."""
    cls = problems.find(name)
    known = next((options for each, options in PROBLEMS.items() if problems.find(each) is cls), {})
    return {"name": name, **_required(cls.options()), **known}


def optimizer(name: str) -> dict[str, Any]:
    """Return the config of an optimizer of this name."""
    return {"name": name, **_required(optimizers.find(name).options())}


def scheduler(name: str, steps: int, lr: float) -> dict[str, Any]:
    """Return the config of a scheduler of this name whose learning rate changes within ``steps`` steps."""
    cls = schedulers.find(name)
    options: Mapping[str, Option] = cls.options()
    soon = max(1, steps // 4)
    given = {
        each: soon
        for each, option in options.items()
        if option.unit and type(option.default) is int and option.default > soon
    }
    given |= {**_required(options, soon, lr), **SCHEDULERS.get(name, {})}
    try:
        cls.validate_options({each: option.default for each, option in options.items()} | given)
    except ConfigError as error:
        if error.field not in options or options[error.field].unit != "steps":
            raise
        given[error.field] = steps  # the length may be given by one of several options
    return {"name": name, **given}


def _required(options: Mapping[str, Option], soon: int = 4, lr: float = 1e-2) -> dict[str, Any]:
    """Return values of the required options: ``soon`` for steps and epochs, learning rates around ``lr``."""
    rates = cycle((0.5 * lr, 2.0 * lr))
    values: dict[str, Any] = {}
    for name, option in options.items():
        if option.required and option.unit == "rate":
            values[name] = next(rates)
        elif option.required and option.marks(PathOrName):
            values[name] = "iris"
        elif option.required:
            values[name] = (
                lr if name == "lr" else _value(option.annotation, option, soon if option.unit else 4)
            )
    return values


def _value(annotation: Any, option: Option, count: int) -> Any:
    """Return a value of a type, within the option's bounds; None for an unknown type."""
    kind, args = get_origin(annotation), get_args(annotation)
    if kind is Literal:
        return args[0]
    if kind is list:
        return list(_MEMBERS) if args[0] is LRScheduler else [_value(args[0], option, count)]
    if args:
        return _value(args[0], option, count)
    low, high = ([bound.limit for bound in option.bounds if bound.sign[0] in signs] for signs in ("≥>", "≤<"))
    if annotation is float:
        return (max(low) + min(high)) / 2 if low and high else max([0.5, *low]) if not high else min(high)
    if annotation is int:
        return min([max([count, *low]), *high])
    return _OF_TYPE.get(annotation)
