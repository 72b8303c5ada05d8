"""Where each value of a config comes from."""

from pathlib import Path
from typing import Any

import pytest

from optrun.config import Resolved, resolve

pytestmark = pytest.mark.usefixtures("fakes")


def origins(variant: str, *overrides: str) -> dict[str, str]:
    """Return the origin of each value of a config that extends base.yaml, by its path."""
    Path("base.yaml").write_text(
        "problem: {name: net, data: digits, hidden: [64, 64]}\n"
        "optimizer:\n"
        "  name: Adam\n"
        "  betas: [0.8, 0.99]\n"
        "  param_groups: [{params: a, lr: 1}]\n"
        "scheduler: {name: SequentialLR, schedulers: [{name: StepLR, step_size: 3}, RangeLR], milestones: [5]}\n"
        "steps: 10\n"
    )
    Path("variant.yaml").write_text(variant)
    found = resolve("variant.yaml", overrides).origins
    assert len({each.path for each in found}) == len(found)
    return {".".join(map(str, each.path)): str(each) for each in found}


RANGE = (
    "extends: base.yaml\nscheduler: {schedulers: [{name: StepLR, step_size: 3}, {name: RangeLR, base: 1}]}\n"
)


def test_every_value_has_an_origin_and_none_is_left_out() -> None:
    found = origins(RANGE)
    config = resolve("variant.yaml").config.to_dict()
    assert set(found) == set(leaves(config))


def leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, f"{path}.{key}")]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for i, each in enumerate(value) for leaf in leaves(each, f"{path}.{i}")]
    return [path.lstrip(".")]


def test_files_overrides_and_defaults() -> None:
    found = origins(RANGE + "problem: {hidden: [8]}\n", "optimizer.lr=1e-2", "steps=3")
    assert found["name"] == found["seed"] == found["optimizer.eps"] == "default"
    assert found["problem.name"] == "base.yaml:1:17"
    assert found["problem.hidden"] == "variant.yaml:3:19"
    assert found["optimizer.lr"] == "override 'optimizer.lr=1e-2'"
    assert found["steps"] == "override 'steps=3'"
    assert found["scheduler.schedulers.0.step_size"] == "variant.yaml:2:52"
    assert found["scheduler.schedulers.0.gamma"] == "default"
    assert found["scheduler.milestones"] == "base.yaml:6:98"


def test_torchs_tuples_and_globs_lead_to_what_was_written() -> None:
    found = origins(RANGE, "optimizer.betas.1=0.5")
    assert found["optimizer.beta1"] == "base.yaml:4:11"
    assert found["optimizer.beta2"] == "override 'optimizer.betas.1=0.5'"
    assert found["optimizer.param_groups.0.params"] == "base.yaml:5:27"
    assert found["optimizer.param_groups.0.lr"] == "base.yaml:5:34"


def test_a_bare_name_is_where_it_is_written() -> None:
    assert origins(RANGE + "optimizer: SGD\n")["optimizer.name"] == "variant.yaml:3:12"
    assert origins(RANGE, "problem=bowl")["problem.name"] == "override 'problem=bowl'"


def test_transforms_and_wrappers_are_found_where_they_are_listed() -> None:
    found = origins(
        RANGE + "optimizer: {gradient: [Sign, {name: ClipNorm}], wrap: [{name: Lookahead, k: 2}]}\n"
    )
    assert found["optimizer.gradient.0.name"] == "variant.yaml:3:24"
    assert found["optimizer.gradient.1.max_norm"] == "default"
    assert found["optimizer.wrap.0.k"] == "variant.yaml:3:77"


def test_the_place_of_one_value() -> None:
    origins(RANGE + "expect:\n  x: {max: 1}\n")
    resolved: Resolved = resolve("variant.yaml")
    assert str(resolved.place(("expect", "x", "max"))) == "variant.yaml:4:12"
    assert resolved.place(("seed",)) is None
    assert resolved.place(("no", "such", "value")) is None
