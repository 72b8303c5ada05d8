"""The JSON Schema refuses what optrun refuses for structural reasons, and nothing that optrun accepts."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optrun.config import ConfigErrors, Issue, from_mapping
from optrun.config.map import MapBlock
from optrun.config.model.json_schema import json_schema
from optrun.config.yaml.reader import read
from optrun.registry import SECTIONS
from tests.pairs import few_in_short

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT.glob("optrun/config/templates/*.yaml")
OF_NO_PLUGIN = [path for path in TEMPLATES if not path.with_suffix(".py").exists()]
SHIPPED = sorted([*ROOT.glob("configs/**/*.yaml"), *OF_NO_PLUGIN])
SMALL: dict[str, Any] = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 1}

# What a schema cannot say: how options depend on each other, and what words and numbers stand for.
ONLY_OPTRUN = re.compile(r"^[A-Z]\w+: |^column \d|are both set|must be ≥ min")


@pytest.fixture(scope="module")
def schema() -> Any:
    return json_schema()


@pytest.fixture(scope="module")
def validator(schema: Any) -> Any:
    return jsonschema.Draft7Validator(schema)


def every(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield each mapping of a schema."""
    if isinstance(schema, dict):
        yield schema
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from every(each)


def test_it_is_a_schema_that_editors_accept(schema: Any) -> None:
    jsonschema.Draft7Validator.check_schema(schema)
    for each in every(schema):
        assert not {"$defs", "prefixItems", "dependentRequired", "unevaluatedProperties"} & each.keys()
        assert not any(each.get(key) == [] for key in ("allOf", "anyOf", "oneOf", "enum"))
        if isinstance(reference := each.get("$ref"), str):
            assert reference.removeprefix("#/definitions/") in schema["definitions"]


def test_everything_that_can_be_hovered_over_is_explained(schema: Any) -> None:
    definitions = {key: each for key, each in schema["definitions"].items() if "properties" in each}
    assert len(definitions) > 20
    for key, each in {**definitions, "": schema}.items():
        for name, option in each["properties"].items():
            assert option.get("description") or (name, "const" in option) == ("name", True), (key, name)
    for section, registry in SECTIONS.items():
        names = schema["definitions"][section]["anyOf"][0]
        assert names["enum"] == list(registry)
        assert all(names["enumDescriptions"])
        assert all(names["markdownEnumDescriptions"])


def test_data_and_nothing_else_has_the_names_of_data_sets_as_examples(schema: Any) -> None:
    found = schema["definitions"]["problem.mlp"]["properties"]
    assert {name for name, option in found.items() if "iris" in option.get("examples", [])} == {"data"}


def test_maths_keep_their_form(schema: Any) -> None:
    assert "```text\nη(t) = " in schema["definitions"]["scheduler.ExponentialLR"]["markdownDescription"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path: Path, validator: Any) -> None:
    validator.validate(read(path.read_text(), str(path)).root.plain())


def complete(section: str, name: str) -> dict[str, Any]:
    """Return a config with every option of a class written out."""
    samples: dict[str, Any] = {
        "schedulers": [{"name": "ConstantLR"}, {"name": "ExponentialLR", "gamma": 0.5}],
        "milestones": [3],
        "lr_lambda": "0.5",
    }
    options = SECTIONS[section].find(name).options().values()
    required = {each.name: samples.get(each.name, _sample(each)) for each in options if each.required}
    required |= {"total_steps": 9} if name == "OneCycleLR" else {}
    data = from_mapping({**SMALL, section: {"name": name, **required}, "expect": {"x": {"max": 1}}}).to_dict()
    return {**data, "stop": {"target": 0.5, "patience": 3, "time": "5s"}, "evaluate": {"every": 3}}


def _sample(option: Any) -> Any:
    of = str(option.type)
    return "digits" if option.type is str else [1] if "list" in of else 1


def with_new_options() -> Iterator[tuple[str, str, list[str]]]:
    """Yield classes with their options of a type and of bounds that no class before has: fifty have none but `dim`."""
    seen: set[object] = set()
    for section, registry in SECTIONS.items():
        for name in registry:
            if name == "expression":  # how its options go together is said by its text
                continue
            kinds = {
                option: (section, str(each.annotation), each.required, each.unit)
                for option, each in registry.find(name).options().items()
            }
            if new := [option for option, kind in kinds.items() if kind not in seen]:
                yield section, name, new
            seen |= {*kinds.values()}


WRONG: list[Any] = [True, "x", "30s", -1, 0, 0.5, 7, [], [1, 0.5], {}, None]


def mutations(
    data: dict[str, Any], sections: list[str], only: list[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a config with each of its values replaced, left out, and joined by an unknown one.

    With ``only``, of the keys of a section these alone.
    """
    for path in [(section, *rest) for section in sections for rest in paths(data.get(section))]:
        if only and len(path) > 1 and path[1] not in only:
            continue
        *above, last = path
        for wrong in (*WRONG, ...):
            changed = copy.deepcopy(data)
            inner: Any = changed
            for step in above:
                inner = inner[step]
            if wrong is ...:
                del inner[last]
            else:
                inner[last] = wrong
            yield changed
            if isinstance(inner, dict) and wrong is None:
                yield _with(changed, tuple(above), f"{last}x")


def _with(data: dict[str, Any], path: tuple[str | int, ...], key: str) -> dict[str, Any]:
    inner: Any = data
    for step in path:
        inner = inner[step]
    inner[key] = 1
    return data


def paths(value: Any) -> Iterator[tuple[str | int, ...]]:
    yield ()
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            for rest in paths(each):
                yield (key, *rest)


def refusals(data: dict[str, Any]) -> list[Issue]:
    try:
        from_mapping(data)
    except ConfigErrors as errors:
        return errors.issues
    return []


def agree(data: dict[str, Any], validator: Any) -> bool:
    """Return whether optrun accepts the config; fail where the schema disagrees without a reason."""
    said = [error.message for error in validator.iter_errors(data)]
    refused = refusals(data)
    assert refused or not said, (said, data)
    structural = [str(issue) for issue in refused if not ONLY_OPTRUN.search(issue.message)]
    assert said or not structural, (structural, data)
    return not refused


@pytest.mark.full
@pytest.mark.parametrize(("section", "name", "options"), few_in_short(with_new_options(), 12), ids=str)
def test_it_agrees_about_every_class(section: str, name: str, options: list[str], validator: Any) -> None:
    data = complete(section, name)
    assert agree(data, validator)
    found = [agree(each, validator) for each in mutations(data, [section], ["name", *options])]
    assert not all(found)
    agree({**SMALL, section: name}, validator)


@pytest.mark.full
def test_it_agrees_about_everything_else(validator: Any) -> None:
    data = complete("optimizer", "Adam")
    group = {"params": "*.bias", "betas": [0.5, 0.5], "schedules": {"lr": {"name": "StepLR", "step_size": 3}}}
    data["optimizer"] = {"name": "Adam", "param_groups": [group]}
    data["schedules"] = {"weight_decay": {"name": "ExponentialLR", "gamma": 0.5}, "eps": "LinearLR"}
    data["record"] = {"metrics": ["weight_decay", "grad_norm"]}
    rest = [key for key in data if key not in ("problem", "scheduler")]
    found = [agree(each, validator) for each in mutations(data, rest)]
    assert 50 < sum(found) < len(found) - 200


@pytest.mark.parametrize(
    "data",
    [
        {**SMALL, "optimizer": {"name": "Adam", "betas": [0.9, 0.99]}},
        {**SMALL, "steps": None, "epochs": 5},
        {**SMALL, "steps": 5e2},
        {**SMALL, "average": "ema"},
        {**SMALL, "average": {"name": "swa", "start": 3}},
        {**SMALL, "checkpoint": {"every": "1.5h"}, "evaluate": None, "stop": None, "expect": None},
        {**SMALL, "checkpoint": None, "scheduler": None, "name": None},
        {**SMALL, "optimizer": {"name": "SGD", "param_groups": [{"params": ["a", "b*"], "lr": 1}]}},
    ],
)
def test_every_spelling_is_accepted(data: dict[str, Any], validator: Any) -> None:
    assert agree(data, validator)


@pytest.mark.parametrize(
    ("data", "accepted"),
    [
        ({"extends": "base.yaml"}, True),
        ({"extends": ["a.yaml", "b.yaml"], "optimizer": {"lr": 1}, "problem": {"hidden": [3]}}, True),
        ({"extends": "base.yaml", "optimizer": {"name": "SGD", "lr": 1}, "scheduler": None}, True),
        ({"extends": "base.yaml", "scheduler": {"name": "SequentialLR", "milestones": [3]}}, True),
        ({"extends": "base.yaml", "scheduler": {"schedulers": [{"name": "StepLR"}]}}, True),
        ({"extends": "a", "scheduler": {"name": "SequentialLR", "schedulers": [{"name": "StepLR"}]}}, False),
        ({"extends": "base.yaml", "optimizer": {"name": "SGD", "lrr": 1}}, False),
        ({"extends": "base.yaml", "sed": 1}, False),
        ({"extends": [1]}, False),
        ({"extends": None}, False),
        ({"optimizer": {"lr": 1}, "problem": "rosenbrock", "steps": 1}, False),
    ],
)
def test_a_file_that_extends_others_may_leave_things_to_them(
    data: dict[str, Any], accepted: bool, validator: Any
) -> None:
    assert validator.is_valid(data) is accepted


@pytest.mark.parametrize(
    "data",
    [
        {**SMALL, "stop": {"time": "0s"}},
        {**SMALL, "checkpoint": {"every": "0.0h"}},
        {**SMALL, "expect": {"final_loss": {}}},
        {**SMALL, "optimizer": {"name": "Adam", "betas": [0.9, 0.99], "beta1": 0.9}},
        {
            **SMALL,
            "optimizer": {"name": "Adam", "param_groups": [{"params": "x", "betas": [0, 0], "beta2": 0}]},
        },
    ],
)
def test_it_refuses_what_says_nothing_or_says_it_twice(data: dict[str, Any], validator: Any) -> None:
    assert not validator.is_valid(data)
    assert refusals(data)


def test_bounds_may_be_left_to_another_file(validator: Any) -> None:
    assert validator.is_valid({"extends": "base.yaml", "expect": {"final_loss": {}}})


@pytest.mark.parametrize(
    ("sweep", "valid"),
    [
        ({"parameters": {"optimizer.lr": [0.1, 0.2]}, "repeats": 3}, True),
        ({"parameters": {"optimizer.lr": {"logspace": [1e-4, 1, 5]}}, "repeats": [1, 2]}, True),
        ({"zip": [{"steps": [1, 2], "seed": [3, 4]}], "metric": {"name": "test_loss"}}, True),
        ({"method": "random", "trials": 3, "parameters": {"steps": {"int": [1, 9]}}}, True),
        (None, True),
        ({"parameters": {"optimizer.lr": []}}, False),
        ({"parameters": {"optimizer.lr": 3}}, False),
        ({"parameters": {"optimizer.lr": {"logspace": [1e-4, 1]}}}, False),
        ({"parameters": {"optimizer.lr": {"lgspace": [1e-4, 1, 5]}}}, False),
        ({"parameters": {"optimizer.lr": {"linspace": [0, 1, 2], "uniform": [0, 1]}}}, False),
        ({"spaces": [{"parameters": {"optimizer.name": ["SGD"]}, "zip": [{"steps": [1]}]}]}, True),
        ({"method": "sobol", "trials": 4, "parameters": {"steps": {"logint": [1, 9]}}}, True),
        ({"method": "halving", "halving": {"min_steps": 5, "factor": 2}}, True),
        ({"method": "optuna", "optuna": {"sampler": "cmaes", "batch": 4}, "trials": 8}, True),
        ({"spaces": []}, False),
        ({"spaces": [{"paramters": {}}]}, False),
        ({"spaces": [{"include": [{"steps": 1}]}]}, False),
        ({"spaces": [{"parameters": {"optimizer.lr": 3}}]}, False),
        ({"method": "halving", "halving": {"factor": 2}}, False),
        ({"method": "halving", "halving": {"min_steps": 5, "factor": 1}}, False),
        ({"optuna": {"sampler": "grid"}}, False),
        ({"metod": "random"}, False),
        ({"repeats": 0}, False),
        ({"metric": {"goal": "up"}}, False),
        ({"metric": "test_loss", "repeats": 2}, True),
        ({"metric": 5, "repeats": 2}, False),
    ],
)
def test_a_sweep_block_is_checked(sweep: Any, valid: bool, validator: Any) -> None:
    assert validator.is_valid({**SMALL, "sweep": sweep}) is valid
    # What varies need not be there besides.
    assert validator.is_valid({"sweep": sweep}) is (valid and sweep is not None)


def test_the_schema_of_a_map_has_its_keys_and_defaults(schema: Any) -> None:
    written = schema["properties"]["map"]["properties"]
    assert written.keys() == MapBlock.model_fields.keys()
    defaults = {
        name: field.default for name, field in MapBlock.model_fields.items() if not field.is_required()
    }
    assert {name: written[name]["default"] for name in defaults} == defaults
