"""A mistake in an option has one message: with its place in a config, with the name of the class in Python."""

import math
import re
from typing import Any

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError
from optrun.registry import SECTIONS

RUN: dict[str, Any] = {"problem": "beale", "optimizer": "SGD", "steps": 9}
VALID: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 2},
    "LambdaLR": {"lr_lambda": "t"},
    "mlp": {"data": "iris"},
}

MISTAKES = [
    ("optimizer", "SGD", "lr", -1, "must be ≥ 0 (got -1)"),
    ("optimizer", "SGD", "lr", math.inf, "must be finite (got .inf)"),
    ("optimizer", "SGD", "lr", True, "must be a number (got true)"),
    (
        "optimizer",
        "SGD",
        "lr",
        "1e-3",
        "must be a number (got '1e-3'); '1e-3' is a string here: remove the quotes",
    ),
    (
        "optimizer",
        "SGD",
        "nesterov",
        "yes",
        "must be true or false (got 'yes'); 'yes' is a string here: write true",
    ),
    ("optimizer", "Adam", "beta1", 1.0, "must be < 1 (got 1.0)"),
    ("optimizer", "Adam", "betas", [0.9], "must be a list of 2: [beta1, beta2] (got [0.9])"),
    ("scheduler", "StepLR", "step_size", 0, "must be ≥ 1 (got 0)"),
    ("scheduler", "StepLR", "step_size", 2.5, "must be an integer (got 2.5)"),
    ("scheduler", "StepLR", "step_size", 2**64, "must be < 2⁶³ (got a whole number of 65 bits)"),
    (
        "scheduler",
        "LambdaLR",
        "lr_lambda",
        "0.9 ** tt",
        "column 8: unknown name 'tt'. Did you mean 't'?\n    0.9 ** tt\n           ^~",
    ),
    (
        "problem",
        "quadratic",
        "condition",
        None,
        "must be a number (got null); leave the key out, or write its default",
    ),
    ("problem", "beale", "start", [0.5, "a"], "must be a number (got 'a')"),
    (
        "problem",
        "mlp",
        "activation",
        "rel",
        "must be 'relu' or 'tanh' or 'gelu' (got 'rel'). Did you mean 'relu'?",
    ),
    ("problem", "mlp", "target", [1], "must be a string or an integer or null (got [1])"),
    ("problem", "mlp", "categories", "all", "must be 'auto' or a list (got 'all')"),
    ("problem", "mlp", "categories", 3, "must be 'auto' or a list (got 3)"),
    ("average", "ema", "decay", 2.0, "must be ≤ 1 (got 2.0)"),
    ("average", "ema", "every", 0, "must be ≥ 1 (got 0)"),
]


def made(section: str, name: str, options: dict[str, Any]) -> Any:
    cls: Any = SECTIONS[section].find(name)
    if section == "scheduler":
        return cls(**options)
    return cls(Arrays() if section == "problem" else Parameters.of({"x": np.zeros(2)}), **options)


@pytest.mark.parametrize(("section", "name", "option", "value", "message"), MISTAKES)
def test_a_config_and_python_say_the_same(
    section: str, name: str, option: str, value: Any, message: str
) -> None:
    options = {**VALID.get(name, {}), option: value}
    with pytest.raises(ConfigErrors) as in_config:
        from_mapping({**RUN, section: {"name": name, **options}})
    with pytest.raises(ConfigError) as in_python:
        made(section, name, options)
    field = in_python.value.field
    owner = SECTIONS[section].find(name).__name__
    assert str(in_config.value) == f"<config>: {section}.{field}: {message}"
    assert str(in_python.value) == f"{owner}: {field}{said(message)}"
    assert field.partition(".")[0] == option


def said(message: str) -> str:
    return f" {message}" if message.startswith("must") else f": {message}"


def test_an_integer_may_be_written_as_a_float_and_is_one() -> None:
    config = from_mapping({**RUN, "scheduler": {"name": "StepLR", "step_size": 2e0}})
    assert config.scheduler is not None
    assert repr(config.scheduler.options["step_size"]) == "2"
    assert repr(made("scheduler", "StepLR", {"step_size": 2.0})._options["step_size"]) == "2"
    assert made("problem", "rosenbrock", {"dim": 3.0}).shapes == {"x": (3,)}


def test_a_value_per_lane_is_within_the_bounds_in_every_lane() -> None:
    two = Parameters({"x": (1,)}, lanes=2)
    sgd = SECTIONS["optimizer"].find("SGD")
    assert sgd(two, lr=[0.1, 0.2]).param_groups[0]["lr"].tolist() == [0.1, 0.2]
    for values, message in {
        (0.1, -0.5): r"SGD: lr must be ≥ 0 \(got -0.5\)$",
        (0.1, math.nan): "SGD: lr must be finite",
        (0.1, 0.2, 0.3): r"SGD: lr must be a number or 2 of them, one per lane \(got \(0.1, 0.2, 0.3\)\)$",
    }.items():
        with pytest.raises(ConfigError, match=message):
            sgd(two, lr=values)


@pytest.mark.parametrize("values", [[], [[]], [[1.0], [1.0, 2.0]]])
def test_rates_for_no_lane_are_refused_where_no_lanes_are_known_yet(values: list[object]) -> None:
    message = f"CosineAnnealingLR: eta_min must be a number (got {values})"
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        made("scheduler", "CosineAnnealingLR", {"T_max": 5, "eta_min": values})
    assert caught.value.field == "eta_min"
