"""Schedules of any hyperparameter in a config: their places, their merging, what they count."""

from pathlib import Path
from typing import Any

import pytest

import optrun
from optrun.config import ConfigErrors, from_mapping, parse, resolve
from optrun.config.model.json_schema import json_schema
from optrun.config.shorten import smoke
from optrun.errors import ConfigError
from optrun.registry import schedulers
from optrun.selftest import examples
from optrun.training.pack import Pack

HEAD = "problem: rosenbrock\nsteps: 10\noptimizer: Adam\n"


def refused(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse(text, "f.yaml", overrides=list(overrides))
    return [str(issue) for issue in caught.value.issues]


def test_schedules_are_components_by_the_names_of_hyperparameters() -> None:
    config = parse(
        HEAD.replace(
            "Adam", "{name: Adam, param_groups: [{params: x, schedules: {lr: {name: StepLR, step_size: 3}}}]}"
        )
        + "scheduler: LinearLR\nschedules: {weight_decay: {name: ExponentialLR, gamma: 0.5}, beta1: ConstantLR}\n"
    )
    assert list(config.schedules) == ["weight_decay", "beta1"]
    assert config.schedules["weight_decay"].options == {"gamma": 0.5, "interval": "step"}
    (group,) = config.optimizer.param_groups
    assert group.schedules["lr"].name == "StepLR"
    assert parse(config.to_yaml()) == config
    assert config.to_dict()["optimizer"]["param_groups"][0]["schedules"]["lr"]["step_size"] == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "schedules: {weight_decy: LinearLR}",
            "4:13: schedules.weight_decy: unknown key. Did you mean 'weight_decay'?",
        ),
        ("schedules: {betas: LinearLR}", "4:20: schedules.betas: is a tuple: schedule beta1 or beta2"),
        ("schedules: {amsgrad: LinearLR}", "4:22: schedules.amsgrad: is no float: it cannot be scheduled"),
        (
            "schedules: {eps: LinerLR}",
            "4:18: schedules.eps.name: unknown scheduler 'LinerLR'. Did you mean 'LinearLR'?",
        ),
        (
            "schedules: {eps: {name: StepLR, step: 3}}",
            "4:33: schedules.eps.step: unknown key. Did you mean 'step_size'?",
        ),
        (
            "schedules: {eps: 3}",
            "4:18: schedules.eps: must be the name of a scheduler, or a mapping with 'name' (got 3)",
        ),
        (
            "schedules: [StepLR]",
            "4:12: schedules: must be a mapping such as {weight_decay: {name: LinearLR}} (got ['StepLR'])",
        ),
        (
            "scheduler: LinearLR\nschedules: {lr: LinearLR}",
            "5:17: schedules.lr: scheduler and schedules.lr are both set: turn one off (schedules.lr=null)",
        ),
        (
            "scheduler: {name: LambdaLR, lr_lambda: 0.5 ** tt}",
            "4:40: scheduler.lr_lambda: column 8: unknown name 'tt'. Did you mean 't'?",
        ),
        (
            "scheduler: {name: LambdaLR, lr_lambda: 0.5}",
            "4:40: scheduler.lr_lambda: must be an expression in t, such as '0.95 ** t' (got 0.5)",
        ),
        (
            "scheduler: {name: StepLR, step_size: 3, interval: epochs}",
            "4:51: scheduler.interval: must be 'step' or 'epoch' (got 'epochs'). Did you mean 'epoch'?",
        ),
        (
            "scheduler: {name: ChainedScheduler, interval: epoch, schedulers: [{name: LinearLR, interval: step}]}",
            "4:94: scheduler.schedulers.0.interval: must be 'epoch', as the schedule around it counts",
        ),
        ("record: {metrics: [weight_decy]}", "4:20: record.metrics.0: must be 'loss' or"),
        ("record: {metrics: [amsgrad]}", "4:20: record.metrics.0: must be 'loss' or"),
    ],
)
def test_a_mistake_has_its_place(text: str, expected: str) -> None:
    (line,) = refused(HEAD + text)
    assert line.startswith(f"f.yaml:{expected}")


def test_a_mistake_in_a_group_has_its_place() -> None:
    group = "{params: x, schedules: {wd: LinearLR, maximize: LinearLR, beta1: {name: StepLR}}}"
    found = refused(HEAD.replace("Adam", f"{{name: Adam, param_groups: [{group}]}}"))
    assert [line.split(": ", 1)[1] for line in found] == [
        "optimizer.param_groups.0.schedules.wd: unknown key. Known here: lr, beta1, beta2, eps, weight_decay",
        "optimizer.param_groups.0.schedules.maximize: is no float: it cannot be scheduled",
        "optimizer.param_groups.0.schedules.beta1.step_size: missing",
    ]


def test_names_of_an_unknown_optimizer_wait_for_it() -> None:
    (line,) = refused("problem: rosenbrock\nsteps: 1\noptimizer: Adm\nschedules: {zz: LinearLR}\n")
    assert "unknown optimizer" in line


def test_overrides_reach_into_schedules_and_turn_them_off() -> None:
    text = HEAD + "schedules: {weight_decay: ExponentialLR, eps: LinearLR}\n"
    config = parse(
        text, overrides=["schedules.weight_decay.gamma=0.5", "schedules.eps=null", "schedules.beta1=LinearLR"]
    )
    assert {name: each.name for name, each in config.schedules.items()} == {
        "weight_decay": "ExponentialLR",
        "beta1": "LinearLR",
    }
    assert parse(text, overrides=["schedules=null"]).schedules == {}
    (line,) = refused(HEAD + "schedules: {eps: {name: StepLR, step_size: 3}}", "schedules.eps.name=LinearLR")
    assert line.endswith("; to replace the whole section write schedules.eps=LinearLR")
    assert "'lr' or" not in line


def extending(variant: str) -> dict[str, object]:
    Path("base.yaml").write_text(
        HEAD + "schedules:\n  weight_decay: {name: StepLR, step_size: 3}\n  eps: LinearLR\n"
    )
    Path("variant.yaml").write_text("extends: base.yaml\n" + variant)
    resolved = resolve("variant.yaml")
    origins = {".".join(map(str, each.path)): str(each) for each in resolved.origins}
    return {key: origins[key] for key in origins if key.startswith("schedules")} | {
        "": resolved.config.to_dict().get("schedules", {})
    }


def test_extended_schedules_are_merged_and_others_replace_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = extending("schedules: {weight_decay: {gamma: 0.5}, eps: {name: ExponentialLR, gamma: 0.9}}\n")
    assert found == {
        "": {
            "weight_decay": {"name": "StepLR", "step_size": 3, "gamma": 0.5, "interval": "step"},
            "eps": {"name": "ExponentialLR", "gamma": 0.9, "interval": "step"},
        },
        "schedules.weight_decay.name": "base.yaml:5:24",
        "schedules.weight_decay.step_size": "base.yaml:5:43",
        "schedules.weight_decay.gamma": "variant.yaml:2:35",
        "schedules.weight_decay.interval": "default",
        "schedules.eps.name": "variant.yaml:2:53",
        "schedules.eps.gamma": "variant.yaml:2:75",
        "schedules.eps.interval": "default",
    }
    assert extending("schedules: {weight_decay: null, eps: null}\n") == {"": {}}
    other = extending(
        "schedules: {weight_decay: {name: ExponentialLR, gamma: 0.9}, eps: {total_iters: 3}}\n"
    )[""]
    assert other == {
        "weight_decay": {"name": "ExponentialLR", "gamma": 0.9, "interval": "step"},
        "eps": {
            "name": "LinearLR",
            "start_factor": 1 / 3,
            "end_factor": 1.0,
            "total_iters": 3,
            "interval": "step",
        },
    }


def test_schedules_of_a_group_have_origins(tmp_path: Path) -> None:
    group = "{params: x, betas: [0.5, 0.6], schedules: {lr: {name: StepLR, step_size: 3}, eps: LinearLR}}"
    (tmp_path / "a.yaml").write_text(HEAD.replace("Adam", f"{{name: Adam, param_groups: [{group}]}}"))
    found = {
        each.path[2:]: each.place
        for each in resolve(tmp_path / "a.yaml").origins
        if "param_groups" in each.path
    }
    columns = {path: place and place.column for path, place in found.items()}
    assert columns[0, "schedules", "lr", "step_size"] == 113
    assert columns[0, "schedules", "lr", "gamma"] is None
    assert columns[0, "schedules", "eps", "name"] == 122
    assert columns[0, "beta2"] == 65


def test_the_outermost_says_what_it_counts_and_members_follow() -> None:
    config = parse(
        HEAD
        + "scheduler: {name: ChainedScheduler, interval: epoch, "
        + "schedulers: [LinearLR, {name: LinearLR, interval: epoch}]}\n"
    )
    assert config.scheduler is not None
    first, second = config.to_dict()["scheduler"]["schedulers"]
    assert "interval" not in first
    assert second["interval"] == config.scheduler.options["interval"] == "epoch"
    assert parse(config.to_yaml()) == config


def test_hyperparameters_are_recorded_in_order() -> None:
    config = parse(HEAD + "record: {metrics: [beta1, grad_norm, weight_decay, beta1, eps]}\n")
    assert config.record.metrics == ["loss", "lr", "grad_norm", "beta1", "weight_decay", "eps"]


def test_what_counts_steps_is_cut_for_smoke() -> None:
    group = "{params: x, schedules: {lr: {name: StepLR, step_size: 300}}}"
    text = f"problem: beale\nsteps: 1000\noptimizer: {{name: Adam, param_groups: [{group}]}}\n"
    short, _ = smoke(parse(text + "schedules: {eps: {name: CosineAnnealingLR, T_max: 500}}\n"), 1000)
    assert short.schedules["eps"].options["T_max"] == 50
    assert short.optimizer.param_groups[0].schedules["lr"].options["step_size"] == 30


def test_late_refusals_have_their_places() -> None:
    def refused_late(**more: object) -> str:
        config = from_mapping({"problem": "beale", "steps": 10, "optimizer": "Adam", **more})
        with pytest.raises(ConfigError) as caught:
            Pack([config])
        return caught.value.field

    cycle = {"name": "OneCycleLR", "max_lr": 1, "total_steps": 10}
    rising = {"name": "LambdaLR", "lr_lambda": "1 + t"}
    assert refused_late(scheduler=cycle, schedules={"beta1": "LinearLR"}) == "schedules.beta1"
    assert refused_late(schedules={"beta1": rising}) == "schedules.beta1"
    group = {"params": "x", "schedules": {"beta1": rising}}
    optimizer = {"name": "Adam", "param_groups": [group]}
    assert refused_late(optimizer=optimizer) == "optimizer.param_groups.0.schedules.beta1"


def test_the_schema_knows_the_names() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft7Validator(json_schema())
    base = {"problem": "beale", "steps": 1, "optimizer": "Adam"}
    good = {**base, "schedules": {"beta1": {"name": "StepLR", "step_size": 3}, "eps": None}}
    assert validator.is_valid(good)
    assert validator.is_valid({**base, "record": {"metrics": ["beta1", "grad_norm"]}})
    for bad in (
        {**base, "schedules": {"momentum": "LinearLR"}},
        {**base, "schedules": {"amsgrad": "LinearLR"}},
        {**base, "schedules": {"beta1": "StepLR"}},
        {**base, "record": {"metrics": ["momentum"]}},
        {
            **base,
            "optimizer": {
                "name": "Adam",
                "param_groups": [{"params": "x", "schedules": {"momentum": "LinearLR"}}],
            },
        },
        {**base, "scheduler": {"name": "LinearLR", "interval": "epochs"}},
    ):
        assert not validator.is_valid(bad), bad
    assert validator.is_valid({"extends": "a.yaml", "schedules": {"momentum": {"step_size": 3}}})


MEMBERS = [{"name": "ConstantLR"}, {"name": "ConstantLR"}]
LEAST: dict[str, dict[str, Any]] = {
    "CyclicLR": {"base_lr": 1e-4, "max_lr": 1e-4, "cycle_momentum": False},
    "OneCycleLR": {"max_lr": 1e-4, "cycle_momentum": False, "epochs": 3, "steps_per_epoch": 3},
    "CosineAnnealingWarmRestarts": {"T_0": 1},
    "SequentialLR": {"schedulers": MEMBERS, "milestones": [1]},
    "SWALR": {"swa_lr": 1e-4},
}


@pytest.mark.parametrize(
    ("name", "option", "of"),
    [
        (name, option, str(of.annotation))
        for name in schedulers
        if schedulers.find(name).__module__.startswith("optrun.")
        for option, of in schedulers.find(name).options().items()
        if "int" in str(of.annotation)
    ],
)
def test_a_whole_number_that_fits_into_64_bits_can_be_run_and_a_larger_one_is_refused(
    name: str, option: str, of: str
) -> None:
    def config(number: int) -> dict[str, Any]:
        least = LEAST.get(name) or examples.scheduler(name, 3, 1e-4)
        given = least | {option: [number] if "list" in of else number}
        if option == "total_steps":
            given = {each: value for each, value in given.items() if "epoch" not in each}
        scheduler = {"name": name, **given}
        return {
            "problem": "rosenbrock",
            "optimizer": {"name": "SGD", "lr": 1e-4},
            "steps": 3,
            "scheduler": scheduler,
        }

    assert optrun.run(config(2**63 - 1), save=False).steps == 3
    with pytest.raises(ConfigError, match=rf"scheduler\.{option}.*must be < 2⁶³"):
        optrun.run(config(10**400), save=False)
    if name != "SequentialLR":  # whose members are objects in Python
        given = config(10**400)["scheduler"]
        del given["name"]
        with pytest.raises(ConfigError, match=rf"{option}.*must be < 2⁶³ \(got [a-z\d, ]+\)$"):
            schedulers.find(name)(**given)
