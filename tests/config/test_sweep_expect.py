"""What a whole sweep is expected to reach: how it is said, and what is refused where."""

from typing import Any

import pytest

from optrun.config import ConfigErrors, from_mapping
from optrun.config.model.expect import Bounds
from optrun.config.model.json_schema import json_schema
from optrun.config.sweep.resolve import sweep_from_mapping, swept
from optrun.config.yaml.reader import read

REST = "problem: rosenbrock\noptimizer: Adam\nsteps: 1\nsweep: {repeats: 2}\n"
GIVEN = {"best": {"x": {"min": 1}}, "by": "optimizer.name", "Adam": {"final_loss": {"max": 2}}}
CONFIG: dict[str, Any] = {
    "problem": "rosenbrock",
    "optimizer": "Adam",
    "steps": 1,
    "expect": {"final_loss": {"max": 1}, "sweep": GIVEN},
    "sweep": {"repeats": 2},
}


def test_it_is_that_of_the_sweep_and_none_of_its_runs():
    found = sweep_from_mapping(CONFIG)
    assert found.expected is not None
    assert found.expected.best == {"x": Bounds(min=1.0)}
    assert (found.expected.by, found.expected.values) == (
        "optimizer.name",
        {"Adam": {"final_loss": Bounds(max=2.0)}},
    )
    assert found.resolved({}).config.to_dict()["expect"] == {"final_loss": {"max": 1.0}}
    again = sweep_from_mapping(found.to_dict())
    assert again.to_dict() == found.to_dict()
    assert again.to_dict()["expect"]["sweep"] == GIVEN
    assert found.of_settings([], [0, 1]).expected is None


def test_overrides_change_it_and_null_turns_it_off():
    found = sweep_from_mapping(CONFIG, ["expect.sweep.best.x.min=0.5"]).expected
    assert found is not None
    assert found.best == {"x": Bounds(min=0.5)}
    for text in ("expect.sweep=null", "expect=null"):
        assert sweep_from_mapping(CONFIG, [text]).expected is None


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("3", ["17: expect.sweep: must be a mapping such as {best: {test_accuracy: {min: 0.9}}}"]),
        ("{}", ["17: expect.sweep: expects nothing: write such as {best: {test_accuracy: {min: 0.9}}}"]),
        (
            "{best: 3}",
            ["24: expect.sweep.best: must be a mapping such as {test_accuracy: {min: 0.9}} (got 3)"],
        ),
        ("{best: {}}", ["24: expect.sweep.best: expects nothing: write such as {test_accuracy: {min: 0.9}}"]),
        ("{best: {x: 3}}", ["28: expect.sweep.best.x: must be a mapping such as {min: 0.9} (got 3)"]),
        ("{best: {x: {}}}", ["28: expect.sweep.best.x: expects nothing: give min, max or both"]),
        ("{best: {x: {mx: 1}}}", ["29: expect.sweep.best.x.mx: unknown key. Did you mean 'max'?"]),
        (
            "{best: {test_acuracy: {min: 1}}}",
            ["25: expect.sweep.best.test_acuracy: unknown key. Did you mean 'test_accuracy'?"],
        ),
        (
            "{Adam: {x: {min: no}}, by: 3}",
            [
                "34: expect.sweep.Adam.x.min: must be a number (got 'no')",
                "44: expect.sweep.by: must be a path of the config such as optimizer.name",
            ],
        ),
        (
            "{Adam: {x: {min: 1}}}",
            [
                "18: expect.sweep.Adam: is a value of what? Give its path, such as by: optimizer.name; or write best"
            ],
        ),
        ("{by: optimizer.name}", ["22: expect.sweep.by: no value of optimizer.name has bounds"]),
    ],
)
def test_a_mistake_has_its_place(text: str, messages: list[str]):
    with pytest.raises(ConfigErrors) as caught:
        swept(read(f"expect: {{sweep: {text}}}\n{REST}", "f.yaml"))
    assert [str(issue).removeprefix("f.yaml:1:") for issue in caught.value.issues] == messages


def test_a_single_run_has_none():
    run = {key: value for key, value in CONFIG.items() if key != "sweep"}
    with pytest.raises(ConfigErrors, match="expect.sweep: is judged over all runs of a sweep"):
        from_mapping(run)
    assert from_mapping({**CONFIG, "sweep": None}).to_dict()["expect"] == {"final_loss": {"max": 1.0}}


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        (GIVEN, True),
        (None, True),
        ({"best": {"my_f1": {"min": 0.5}}}, True),
        (3, False),
        ({"best": 3}, False),
        ({"by": 3}, False),
        ({"best": {"x": {"mx": 1}}}, False),
        ({"by": "optimizer.name", "Adam": {"x": {"min": "no"}}}, False),
    ],
)
def test_the_json_schema_agrees(given: Any, accepted: bool):
    validator = pytest.importorskip("jsonschema").Draft7Validator(json_schema())
    config = {**CONFIG, "expect": {"sweep": given}}
    assert validator.is_valid(config) == accepted
    if accepted:
        sweep_from_mapping(config)
    else:
        with pytest.raises(ConfigErrors):
            sweep_from_mapping(config)
