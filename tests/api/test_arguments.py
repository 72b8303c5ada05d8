"""Arguments of the Python API of another type than they are to have."""

from collections.abc import Callable
from typing import Any

import pytest

import optrun
from optrun.errors import ConfigError

CONFIG = {"problem": "sphere", "optimizer": "SGD", "steps": 2}


@pytest.mark.parametrize(
    ("call", "options", "said"),
    [
        *(
            (optrun.check, {"target": each}, f"target must be a number, not {each!r}")
            for each in ("0.5", "high")
        ),
        (optrun.check, {"target": True}, "target must be a number, not True"),
        (optrun.check, {"target": 1, "p": "0.05"}, "p must be a number, not '0.05'"),
        (optrun.check, {"target": 1, "p": 0.05, "sigma": [1]}, r"sigma must be a number, not \[1\]"),
        (optrun.check, {"target": 1, "by": 3}, "by must be a string, not 3"),
        (optrun.check, {"target": 1, "metric": 3}, "metric must be a string, not 3"),
        (optrun.report, {"path": 3}, "path must be a path, not 3"),
        (optrun.noise, {"seeds": "6"}, "seeds must be an integer, not '6'"),
        (optrun.noise, {"seeds": 6.0}, "seeds must be an integer, not 6.0"),
        (optrun.noise, {"seeds": True}, "seeds must be an integer, not True"),
        (optrun.noise, {"metric": 3}, "metric must be a string, not 3"),
        (optrun.noise, {"overrides": "seed=1"}, "overrides must be a list of strings"),
        (optrun.noise, {"overrides": 3}, "overrides must be a list of strings"),
    ],
)
def test_an_argument_of_another_type_is_named(
    call: Callable[..., Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        call(CONFIG if call is optrun.noise else "runs/none", **options)
