"""Paths of options below what a config writes as its name alone, and of options of transforms that are scheduled."""

import pytest

from optrun.config import from_mapping
from optrun.config.paths import steps_of
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.sweeps.plan.expand import expand

SHORT = {
    "problem": "rosenbrock",
    "optimizer": {
        "name": "SGD",
        "gradient": ["ClipNorm"],
        "wrap": ["Lookahead"],
        "param_groups": [{"params": "x", "update": ["Cautious"], "gradient": ["ClipNorm"]}],
    },
    "scheduler": {"name": "ChainedScheduler", "schedulers": ["LinearLR"]},
    "schedules": {"gradient.0.max_norm": "LinearLR"},
    "steps": 3,
}


@pytest.mark.parametrize(
    "path",
    [
        "optimizer.gradient.0.max_norm",
        "optimizer.wrap.0.alpha",
        "optimizer.param_groups.0.gradient.0.max_norm",
        "scheduler.schedulers.0.start_factor",
        "schedules.gradient.0.max_norm.start_factor",
    ],
)
def test_options_of_what_is_written_as_its_name_alone(path):
    def at(config):
        for step in steps_of(path):
            config = config[int(step)] if isinstance(config, list) else config[step]
        return config

    assert at(from_mapping(SHORT, [f"{path}=0.125"]).to_dict()) == 0.125
    swept = expand(sweep_from_mapping({**SHORT, "sweep": {"parameters": {path: [0.125, 0.25]}}}))
    assert [at(config.to_dict()) for config in swept.configs] == [0.125, 0.25]


def test_nothing_recorded_is_a_mapping_where_a_part_of_it_is_given():
    one = {**SHORT, "record": "none"}
    assert from_mapping(one, ["record.every=2"]).record.every == 2
    assert from_mapping(one, ["record.metrics=[grad_norm]"]).record.every is None


def test_the_schedule_of_a_transform_s_option_is_turned_off_by_its_path():
    assert not from_mapping(SHORT, ["schedules.gradient.0.max_norm=null"]).schedules
