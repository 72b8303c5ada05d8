"""What a config writes of itself reads back as the same config."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from optrun.config import from_mapping, parse
from optrun.config.model.run import metric_names
from optrun.config.yaml.reader import read
from optrun.config.yaml.writer import to_yaml

pytestmark = pytest.mark.usefixtures("fakes")

reals = st.floats(allow_nan=False, allow_infinity=False)
rates = st.floats(min_value=0, allow_infinity=False)
decays = st.floats(min_value=0, max_value=1, exclude_max=True)
counts = st.integers(1, 2**60)
durations = st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["ms", "s", "m", "h"]))
awkward = st.sampled_from(
    ["1e-3", "no", "null", "~", "", "0x1F", ".5", "- a", "a: b", "#", "'", "a\n b", "<<", "*"]
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20) | awkward


def some(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


hyperparameters: dict[str, st.SearchStrategy[Any]] = {
    "lr": rates,
    "beta1": decays,
    "eps": rates,
    "amsgrad": st.booleans(),
}
groups = st.builds(
    lambda params, group: {"params": params, **group},
    st.lists(texts.filter(bool), min_size=1, max_size=2),
    some(**hyperparameters),
)
leaves = st.builds(lambda base: {"name": "RangeLR", "base": base}, reals | st.lists(reals, max_size=3))
schedulers = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda many, ends: {"name": "SequentialLR", "schedulers": many, "milestones": sorted(ends)},
        st.lists(inner, max_size=2),
        st.lists(counts, max_size=3),
    ),
    max_leaves=4,
)
configs = st.builds(
    lambda run, problem, optimizer, groups: {
        **run,
        "problem": {"name": "net", "data": "digits", **problem},
        "optimizer": {"name": "Adam", **optimizer, **groups},
    },
    st.fixed_dictionaries(
        {"steps": counts},
        optional={
            "name": texts.filter(bool),
            "scheduler": st.none() | schedulers,
            "schedules": st.none() | some(beta1=st.none() | schedulers, eps=schedulers),
            "seed": st.integers(0, 2**63 - 1),
            "dtype": st.sampled_from(["float32", "float64"]),
            "record": some(
                every=counts, metrics=st.lists(st.sampled_from([*metric_names(), "beta1", "eps"]))
            ),
            "evaluate": st.none() | some(every=st.none() | counts),
            "checkpoint": st.none() | some(every=st.none() | counts | durations),
            "stop": st.none() | some(target=reals, patience=st.none() | counts, time=durations),
        },
    ),
    some(hidden=st.lists(counts, max_size=3), batch_size=st.none() | counts, bias=st.booleans(), copy=texts),
    some(**hyperparameters),
    some(param_groups=st.lists(groups, max_size=2)),
)


@pytest.mark.full
@settings(max_examples=150, deadline=None)
@given(configs)
def test_a_config_reads_back_from_its_own_yaml_and_json(data: dict[str, Any]) -> None:
    config = from_mapping(data)
    written = config.to_yaml()
    again = parse(written, "some/where.yaml")
    assert again == config
    assert again.digest == config.digest
    assert again.to_yaml() == written
    assert from_mapping(json.loads(json.dumps(config.to_dict(), allow_nan=False))) == config


scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | reals | texts


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abc"), scalars | st.lists(scalars | st.lists(scalars, max_size=3)), min_size=1
    )
)
def test_any_plain_values_survive(data: dict[str, Any]) -> None:
    found = read(to_yaml(data), "f.yaml")
    assert not found.issues
    assert found.root.plain() == data
    assert repr(found.root.plain()) == repr(data)


def test_the_yaml_is_what_a_person_would_write() -> None:
    config = from_mapping(
        {
            "name": "digits-mlp",
            "problem": {"name": "net", "data": "digits", "copy": "1e-3"},
            "optimizer": {"name": "adam", "lr": 3e-3, "param_groups": [{"params": "*.bias", "eps": 0}]},
            "scheduler": {
                "name": "SequentialLR",
                "milestones": [1],
                "schedulers": [{"name": "RangeLR", "base": 1}],
            },
            "epochs": 5,
            "stop": {"target": 1e-6, "time": "10m"},
        }
    )
    assert config.to_yaml() == (
        "name: digits-mlp\n"
        "problem:\n"
        "  name: net\n"
        "  data: digits\n"
        "  hidden: [64, 64]\n"
        "  activation: relu\n"
        "  batch_size: null\n"
        "  bias: true\n"
        "  copy: '1e-3'\n"
        "optimizer:\n"
        "  name: Adam\n"
        "  lr: 0.003\n"
        "  beta1: 0.9\n"
        "  beta2: 0.999\n"
        "  eps: 1e-08\n"
        "  weight_decay: 0.0\n"
        "  amsgrad: false\n"
        "  param_groups:\n"
        "  - {params: ['*.bias'], eps: 0.0}\n"
        "scheduler:\n"
        "  name: SequentialLR\n"
        "  schedulers:\n"
        "  - {name: RangeLR, base: 1.0, T_max: 10}\n"
        "  milestones: [1]\n"
        "epochs: 5\n"
        "seed: 0\n"
        "dtype: float32\n"
        "backend: numpy\n"
        "engine: auto\n"
        "record:\n"
        "  every: 1\n"
        "  metrics: [loss, lr]\n"
        "checkpoint:\n"
        "  every: 30s\n"
        "stop:\n"
        "  target: 1e-06\n"
        "  divergence:\n"
        "    factor: 1000.0\n"
        "  time: 10m\n"
    )


def test_other_readers_of_yaml_see_the_same_structure() -> None:
    config = from_mapping({"problem": {"name": "net", "data": "no"}, "optimizer": "SGD", "steps": 1})
    theirs = yaml.load(config.to_yaml(), yaml.BaseLoader)
    assert theirs["problem"]["data"] == "no"
    assert theirs["problem"]["hidden"] == ["64", "64"]


def test_a_text_of_several_lines_is_written_in_one():
    assert (
        to_yaml({"note": "one\ntwo\tthree", "at": ["a\nb"]}) == 'note: "one\\ntwo\\tthree"\nat: ["a\\nb"]\n'
    )
