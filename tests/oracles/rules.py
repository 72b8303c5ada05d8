"""Every optimizer × option set of the parity tests, and optrun's trajectories of them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np

from optrun.arrays import Array, Arrays, Parameters
from optrun.errors import ConfigError
from optrun.optim import Optimizer
from optrun.registry import Option, optimizers
from tests.oracles.objectives import OBJECTIVES, gradients, start

STEPS = 200
LR = 0.011
TORCH = [
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "Adamax",
    "AdamW",
    "ASGD",
    "LBFGS",
    "Muon",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "SparseAdam",
]
SHAPES = {"matrix": (3, 4), "vector": (5,)}
MATRICES = {"wide": (2, 4), "tall": (3, 2), "row": (1, 3)}
SIZE = 17
MOVED = {"t0": 50.0, "ns_b": -4.75}
"""Floats that do not go to nine tenths of their default: ASGD averages from step t0 on, and Newton-Schulz diverges."""

FIRST = (2, 13)
NEWER = {
    ("Muon", "adjust_lr_fn", "spectral_unclamped"): (2, 15),
    ("Muon", "iteration", "polar_express"): (99, 0),
}
"""The torch that is compared with, and what only a newer one has, or none yet."""

Case = tuple[str, dict[str, Any]]


def names() -> list[str]:
    """Return the optimizers that optrun and torch both have."""
    return [name for name in optimizers if name in TORCH]


def flag_sets(rule: type[Optimizer]) -> list[dict[str, Any]]:
    """Return nothing, every value of each option that is no float, and all that are true or false at once."""
    others = {
        name: _others(option)
        for name, option in rule.options().items()
        if not option.is_float and not option.required
    }
    alone = [{name: value} for name, values in others.items() for value in values]
    switches = {name: not option.default for name, option in rule.options().items() if option.type is bool}
    return [{}, *alone, *([switches] if len(switches) > 1 else [])]


def variants(rule: type[Optimizer]) -> Iterator[dict[str, Any]]:
    """Yield each flag set with the default floats and with all moved, and without flags each float moved alone.

    Where all floats moved are impossible together, all but one are; what is impossible is left out.
    """
    options = rule.options()
    moved = {name: _moved(option) for name, option in options.items() if option.is_float and name != "lr"}
    but_one = [{name: value for name, value in moved.items() if name != left} for left in moved]
    for flags in flag_sets(rule):
        floats = [moved] if possible(rule, {**flags, **moved}) else but_one
        alone = [] if flags else [{name: value} for name, value in moved.items()]
        for chosen in [{}, *alone, *floats]:
            if possible(rule, {**flags, **chosen}):
                yield {"lr": max(LR, 0.9 * options["lr"].default), **flags, **chosen}


def cases() -> list[Case]:
    """Return every optimizer's name with each of its option sets."""
    return [(name, options) for name in names() for options in variants(optimizers.find(name))]


def changing_cases() -> list[Case]:
    """Return each optimizer that needs no closure with its floats moved, to be changed on the way."""
    last = {name: options for name, options in cases() if not flags_of(name, options)}
    return [case for case in last.items() if not optimizers.find(case[0]).needs_closure]


def changes(name: str, options: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    """Return what the floats of an optimizer are set to, by the step before which that happens.

    All are made smaller; then those that turn something off are 0 for a while; then all are as they were.
    """
    rule = optimizers.find(name)
    floats = {key: option for key, option in rule.options().items() if option.is_float}
    first = {key: options.get(key, option.default) for key, option in floats.items()}
    smaller = {
        key: value * 0.7 if all(bound.holds(value * 0.7) for bound in floats[key].bounds) else value * 1.1
        for key, value in first.items()
    }
    off = {key: 0.0 for key in ("momentum", "beta1", "lambd", "weight_decay", "lr_decay") if key in first}
    return {60: smaller, 110: {**smaller, **off}, 150: first}


def since(name: str, options: Mapping[str, Any]) -> tuple[int, int]:
    """Return the first torch that has these options."""
    own = {
        key: version
        for (rule, key, value), version in NEWER.items()
        if (rule, options.get(key)) == (name, value)
    }
    return max(own.values(), default=FIRST)


def has(version: str, name: str, options: Mapping[str, Any]) -> bool:
    """Return whether this torch has these options."""
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= since(name, options)


def flags_of(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a case that are no floats."""
    return {key: value for key, value in options.items() if not optimizers.find(name).options()[key].is_float}


def label(name: str, options: Mapping[str, Any]) -> str:
    """Return the name of a case."""
    shown = (
        f"{key}={value:g}" if type(value) is float else f"{key}={value}" for key, value in options.items()
    )
    return f"{name}({', '.join(shown)})"


def possible(rule: type[Optimizer], options: Mapping[str, Any]) -> bool:
    """Return whether the rule takes these values together."""
    try:
        rule.validate_options(
            {name: option.default for name, option in rule.options().items()} | dict(options)
        )
    except ConfigError:
        return False
    return True


def takes_vectors(name: str) -> bool:
    """Return whether an optimizer updates biases, not matrices alone as Muon."""
    try:
        optimizers.find(name).validate_parameter("bias", (2,))
    except ConfigError:
        return False
    return True


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return the tensors that an optimizer is tried on: a matrix and a vector, or matrices where it takes no other."""
    return SHAPES if takes_vectors(name) else MATRICES


def steps(name: str, dtype: str = "float64") -> int:
    """Return for how many steps an optimizer is run: one of LBFGS is twenty of another, and it is soon chaotic."""
    if optimizers.find(name).needs_closure:
        return 2 if dtype == "float64" else 1
    return STEPS


def trajectories(
    name: str, options: Mapping[str, Any], dtype: str = "float64", lanes: int = 1, *, changing: bool = False
) -> Array:
    """Return optrun's parameters after each step on each objective, `[steps, lanes, 3, 17]`.

    With ``changing`` the floats are set to others on the way.
    """
    changed = changes(name, options) if changing else {}
    if not lanes:
        return np.empty((steps(name, dtype), 0, 3, SIZE), dtype)
    if optimizers.find(name).needs_closure:
        own = [_lane_of(options, lane) for lane in range(lanes)]
        return np.stack([[_alone(name, each, i, dtype) for i in range(3)] for each in own]).transpose(
            2, 0, 1, 3
        )
    tensors = {f"{objective}.{key}": shape for objective in OBJECTIVES for key, shape in shapes(name).items()}
    params = Parameters(tensors, lanes=lanes, arrays=Arrays(dtype=dtype))
    points, slopes = (flat.reshape(lanes, 3, SIZE) for flat in (params.data, params.grad))
    points[:] = start(SIZE)
    optimizer = optimizers.find(name)(params, **options)
    rows = np.empty((steps(name, dtype), *points.shape), dtype)
    for t in range(len(rows)):
        slopes[:] = gradients(points, t, sparse=name == "SparseAdam")
        optimizer.param_groups[0].update(changed.get(t, {}))
        optimizer.step()
        rows[t] = points
    return rows


def differences(ours: Array, theirs: Array) -> Array:
    """Return the largest difference of each lane's trajectories, relative to the size of each row, `[lanes]`."""
    theirs = theirs.astype(np.float64)
    return (np.abs(ours - theirs).max(axis=-1) / np.abs(theirs).max(axis=-1)).max(axis=(0, 2))


def ascent(options: Mapping[str, Any]) -> float:
    """Return -1 where a rule that asks for the loss maximizes: it is given what has a maximum."""
    return -1.0 if options.get("maximize") else 1.0


def bound(name: str, dtype: str, oracle: str = "torch") -> float:
    """Return what a trajectory may differ by, relative to its largest element at that step."""
    if name == "Muon" and oracle == "torch":
        return 1e-1
    if name == "LBFGS":
        return 1e-8 if dtype == "float64" else 1e-2
    return 1e-12 if dtype == "float64" else 1e-4


def _alone(name: str, options: Mapping[str, Any], index: int, dtype: str) -> Array:
    """Return the parameters of one lane after each step on one objective, `[steps, 17]`."""
    params = Parameters(shapes(name), arrays=Arrays(dtype=dtype))
    params.data[:] = start(SIZE)
    optimizer, objective = optimizers.find(name)(params, **options), list(OBJECTIVES.values())[index]
    rows = np.empty((steps(name, dtype), SIZE), dtype)
    for t in range(len(rows)):

        def closure(t: int = t) -> Array:
            loss, gradient = objective(params.data, t)
            params.grad[:] = ascent(options) * gradient
            return ascent(options) * loss

        optimizer.step(closure)
        rows[t] = params.data[0]
    return rows


def _lane_of(options: Mapping[str, Any], lane: int) -> dict[str, Any]:
    return {key: value[lane] if isinstance(value, np.ndarray) else value for key, value in options.items()}


def _moved(option: Option) -> float:
    """Return a value of a float near its default, within its bounds."""
    below_one = any(bound.limit == 1 and bound.sign in "<≤" for bound in option.bounds)
    nearby = 1 - 2 * (1 - option.default) if below_one and option.default else option.default * 0.9 or 0.02
    value = MOVED.get(option.name, nearby)
    return float(value if all(bound.holds(value) for bound in option.bounds) else option.default * 1.1)


def _others(option: Option) -> list[Any]:
    """Return the values besides its default at which an option that is no float is tried."""
    found: list[Any] = []
    for kind in _kinds(option.annotation):
        if kind is bool:
            found.append(not option.default)
        elif kind is int:
            found.append(max(1, option.default // 4) if option.default else 7)
        elif kind is float:
            found.append(1e-3)
        elif kind is not type(None):
            found.append(kind)
    return [value for value in found if value != option.default]


def _kinds(annotation: Any) -> list[Any]:
    """Return the types of a union, and the values of a Literal, without their bounds."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    members = get_args(annotation)
    return [kind for member in members for kind in _kinds(member)] if members else [annotation]
