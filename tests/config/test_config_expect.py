"""What a run is expected to reach: how it is said, and when it is missed."""

import math
from typing import Any

import pytest

from optrun.config import ConfigErrors, from_mapping, parse, unmet
from optrun.config.model.expect import FIGURES

SMALL: dict[str, Any] = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 1}


def said(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse(f"expect: {text}\nproblem: rosenbrock\noptimizer: SGD\nsteps: 1\n")
    return [str(issue).removeprefix("<config>:1:") for issue in caught.value.issues]


def test_it_is_part_of_the_config_and_reads_back() -> None:
    config = from_mapping(
        {**SMALL, "expect": {"final_loss": {"max": 1}, "my_f1": {"min": 0.5, "max": 0.75}, "x": {"min": 1}}}
    )
    dumped = {"final_loss": {"max": 1.0}, "my_f1": {"min": 0.5, "max": 0.75}, "x": {"min": 1.0}}
    assert config.to_dict()["expect"] == dumped
    assert parse(config.to_yaml(), "run.yaml") == config


@pytest.mark.parametrize("nothing", [{}, None])
def test_nothing_expected_leaves_no_trace(nothing: Any) -> None:
    assert "expect" not in from_mapping({**SMALL, "expect": nothing}).to_dict()


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("3", ["9: expect: must be a mapping such as {final_loss: {max: 1e-6}} (got 3)"]),
        ("{final_loss: 3}", ["22: expect.final_loss: must be a mapping such as {max: 1e-6} (got 3)"]),
        ("{final_loss: {}}", ["22: expect.final_loss: expects nothing: give min, max or both"]),
        ("{x: {min: null}}", ["13: expect.x: expects nothing: give min, max or both"]),
        ("{x: {mix: 1}}", ["14: expect.x.mix: unknown key. Did you mean 'min'?"]),
        ("{x: {min: true}}", ["19: expect.x.min: must be a number (got true)"]),
        ("{x: {max: .nan}}", ["19: expect.x.max: must be finite (got .nan)"]),
        ("{x: {min: 2, max: 1}}", ["27: expect.x.max: must be ≥ min, which is 2 (got 1)"]),
        ("{loss: {max: 1}}", ["10: expect.loss: unknown key. Did you mean 'final_loss'?"]),
        (
            "{average_test_acuracy: {max: 1}}",
            ["10: expect.average_test_acuracy: unknown key. Did you mean 'average_test_accuracy'?"],
        ),
        (
            "{test_acuracy: {max: no}, y: 1}",
            [
                "10: expect.test_acuracy: unknown key. Did you mean 'test_accuracy'?",
                "30: expect.test_acuracy.max: must be a number (got 'no')",
                "38: expect.y: must be a mapping such as {max: 1e-6} (got 1)",
            ],
        ),
    ],
)
def test_a_mistake_has_its_place(text: str, messages: list[str]) -> None:
    assert said(text) == messages


@pytest.mark.parametrize(
    "name", [*FIGURES, "valid_loss", "validation_accuracy", "test_auc", "test_top5_accuracy", "perplexity"]
)
def test_a_figure_of_a_plug_in_is_no_slip(name: str) -> None:
    assert list(from_mapping({**SMALL, "expect": {name: {"max": 1}}}).expect) == [name]


SUMMARY = {"final_loss": 0.1, "test_accuracy": 0.9528, "train_loss": None}


@pytest.mark.parametrize(
    ("name", "bounds", "missed"),
    [
        ("final_loss", {"max": 0.1, "min": 0.1}, []),
        ("test_accuracy", {"min": 0.96}, [("min", "0.9528 is below the minimum 0.96")]),
        ("final_loss", {"max": 0.0999999999}, [("max", "0.1 is above the maximum 0.1")]),
        ("final_loss", {"max": 1e-3, "min": -1}, [("max", "0.1 is above the maximum 0.001")]),
        (
            "train_loss",
            {"min": -1e308, "max": 1e308},
            [
                ("min", "is not finite, the minimum -1e+308 is expected"),
                ("max", "is not finite, the maximum 1e+308 is expected"),
            ],
        ),
        (
            "test_accuracy_5",
            {"max": 1},
            [
                (
                    "max",
                    "was not measured, the maximum 1 is expected; the run measured final_loss, test_accuracy, "
                    "train_loss. Did you mean 'test_accuracy'?",
                )
            ],
        ),
    ],
)
def test_what_is_missed(name: str, bounds: dict[str, float], missed: list[tuple[str, str]]) -> None:
    # A name so near to a known one is refused in a config: a summary has the last word.
    expected = from_mapping({**SMALL, "expect": {"x": bounds}}).expect
    found = unmet({name: expected["x"]}, SUMMARY)
    assert [(each.bound, each.reason) for each in found] == missed
    assert all(each.path == ("expect", name, each.bound) for each in found)
    assert all(each.limit == bounds[each.bound] for each in found)
    assert all(each.value == SUMMARY.get(name) for each in found)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_misses_every_bound(value: float) -> None:
    expected = from_mapping({**SMALL, "expect": {"x": {"min": -1, "max": 1}}}).expect
    assert [each.bound for each in unmet(expected, {"x": value})] == ["min", "max"]
