"""`sweep.optimizers`: a space for each, with the search space that its class declares."""

from typing import ClassVar

import pytest

from optrun.config import ConfigErrors
from optrun.config.sweep.optimizers import searched
from optrun.config.sweep.resolve import load_sweep, sweep_from_mapping
from optrun.optim.optimizer import Optimizer
from optrun.registry import optimizers
from optrun.sweeps.plan.expand import expand
from tests.registries import restore_after

BASE = {"problem": "rosenbrock", "steps": 5}


def swept(*, optimizer=None, overrides=(), **block):
    given = {} if optimizer is None else {"optimizer": optimizer}
    return sweep_from_mapping({**BASE, **given, "sweep": {"method": "random"} | block}, overrides)


@pytest.mark.parametrize("name", searched())
def test_a_declared_search_space_can_be_drawn_from(name):
    plan = expand(swept(optimizers=[name], trials=8))
    space = optimizers.find(name).search_space
    assert len(plan.settings) == 8
    for setting in plan.settings:
        assert {*setting} == {"optimizer.name", *(f"optimizer.{option}" for option in space)}
        for option, axis in space.items():
            (low, high), value = next(iter(axis.values())), setting[f"optimizer.{option}"]
            assert low <= value <= high


def test_all_are_those_that_declare_one_and_a_plugin_s_too(monkeypatch):
    restore_after(monkeypatch, optimizers)

    class Mine(Optimizer):
        """θ ← θ - lr g"""

        search_space: ClassVar = {"lr": {"loguniform": [1e-3, 1.0]}}

        @staticmethod
        def update(p, g, t, /, *, lr: float = 1e-3):
            p -= lr * g

    plan = expand(swept(optimizers="all", trials=100))
    assert (
        {setting["optimizer.name"] for setting in plan.settings} == {*searched()} >= {"Mine", "SGD", "AdamW"}
    )


def test_they_stand_beside_other_parameters_and_spaces():
    block = {
        "parameters": {"steps": [5, 6]},
        "spaces": [{"parameters": {"optimizer.name": ["Rprop"], "optimizer.lr": {"uniform": [0, 1]}}}],
    }
    plan = expand(swept(optimizers=["sgd", "Adam"], trials=30, **block))
    names = [setting["optimizer.name"] for setting in plan.settings]
    assert [names.count(name) for name in ("Rprop", "SGD", "Adam")] == [10, 10, 10]
    assert {setting["steps"] for setting in plan.settings} == {5, 6}


OWN = {"name": "AdamW", "lr": 0.5, "betas": [0.8, 0.99], "eps": 0.25, "gradient": ["ClipNorm"]}


def options_of(sweep):
    found = {}
    for config in expand(sweep).configs:
        found.setdefault(config.optimizer.name, config.optimizer.options)
    return found


@pytest.mark.parametrize("again", [False, True])
def test_a_named_block_is_its_own_optimizer_s_alone(again):
    sweep = swept(optimizer=OWN, optimizers=["adamw", "Prodigy"], trials=2)
    if again:  # as it is stored
        sweep = sweep_from_mapping(sweep.to_dict())
    found = options_of(sweep)
    assert found["Prodigy"]["lr"] == optimizers.find("Prodigy").options()["lr"].default == 1.0
    assert "gradient" not in found["Prodigy"]
    assert found["Prodigy"]["eps"] < 1e-6
    assert found["AdamW"]["lr"] != 0.5, "it is drawn"
    assert found["AdamW"]["gradient"][0].name == "ClipNorm"
    assert found["AdamW"]["eps"] == 0.25


def test_overrides_of_a_named_block_are_its_optimizer_s_too():
    found = options_of(
        swept(
            optimizer=OWN,
            optimizers=["AdamW", "Prodigy"],
            trials=2,
            overrides=["optimizer.lr=0.25", "optimizer.beta1=0.7"],
        )
    )
    assert (found["AdamW"]["lr"], found["Prodigy"]["lr"]) == (0.25, 1.0)
    assert (found["AdamW"]["beta1"], found["Prodigy"]["beta1"]) == (0.7, 0.9)


@pytest.mark.parametrize(
    ("override", "fixed", "drawn"),
    [
        ("optimizer.betas=[0.5,0.25]", [("AdamW", "beta1", 0.5), ("AdamW", "beta2", 0.25)], "lr"),
        ("optimizer={name: AdamW, betas: [0.5, 0.25]}", [("AdamW", "beta2", 0.25)], "lr"),
        ("optimizer={name: adamw, lr: 0.125}", [("AdamW", "lr", 0.125), ("SGD", "lr", None)], "beta1"),
        ("optimizer={lr: 0.125}", [("AdamW", "lr", 0.125), ("SGD", "lr", 0.125)], "beta1"),
    ],
)
def test_overrides_of_tuples_and_of_the_block_fix_what_is_drawn(override, fixed, drawn):
    own = {"name": "AdamW"}
    plan = expand(swept(optimizer=own, optimizers=["AdamW", "SGD"], trials=6, overrides=[override]))
    for name, option, value in [*fixed, ("AdamW", drawn, None)]:
        found = {of.optimizer.options[option] for of in plan.configs if of.optimizer.name == name}
        assert found == {value} if value is not None else len(found) == 3


def test_what_a_search_space_draws_over_is_noted_unless_an_override_fixes_it():
    names = ["AdamW", "SGD"]
    assert [each.partition(" has")[0] for each in swept(optimizer=OWN, optimizers=names, trials=2).notes] == [
        "optimizer.lr",
        "optimizer.beta1",
        "optimizer.beta2",
    ]
    assert swept(optimizer={"weight_decay": 0.5}, optimizers=names, trials=2).notes == (
        "optimizer.weight_decay has no effect on AdamW, whose search space draws it: "
        "the override optimizer.weight_decay=0.5 fixes it",
    )
    fixing = ["optimizer.lr=0.5", "optimizer.betas=[0.8,0.99]"]
    assert swept(optimizer=OWN, optimizers=names, trials=2, overrides=fixing).notes == ()


def test_an_option_that_overrides_vary_is_shared():
    overrides = ["optimizer.eps=1e-7,1e-5"]
    own = {"name": "AdamW", "eps": 0.25}
    plan = expand(swept(optimizer=own, optimizers=["Prodigy"], trials=8, overrides=overrides))
    assert {setting["optimizer.eps"] for setting in plan.settings} == {1e-7, 1e-5}


def test_a_block_without_a_name_and_what_varies_for_all_are_shared():
    for optimizer, block in (
        ({"weight_decay": 0.125}, {}),
        ({"name": "Adam", "weight_decay": 1}, {"parameters": {"optimizer.weight_decay": [0.125]}}),
    ):
        found = options_of(swept(optimizer=optimizer, optimizers=["RMSprop", "Adam"], trials=2, **block))
        assert {name: options["weight_decay"] for name, options in found.items()} == {
            "RMSprop": 0.125,
            "Adam": 0.125,
        }


def test_spaces_and_included_settings_that_are_written_out_keep_the_block():
    spaces = [{"zip": [{"optimizer.name": ["SGD"], "optimizer.lr": [2.0]}]}]
    include = [{"optimizer.lr": 3.0}]
    plan = expand(
        swept(
            optimizer={"name": "Adam", "lr": 1.0, "weight_decay": 0.125},
            optimizers=["Lion"],
            trials=2,
            spaces=spaces,
            include=include,
        )
    )
    assert [
        (of.name, of.options["lr"], of.options["weight_decay"])
        for of in (config.optimizer for config in plan.configs)
        if of.name != "Lion"
    ] == [("SGD", 2.0, 0.125), ("Adam", 3.0, 0.125)]
    lion = next(of.optimizer for of in plan.configs if of.optimizer.name == "Lion")
    assert lion.options["weight_decay"] == optimizers.find("Lion").options()["weight_decay"].default


def test_a_block_of_an_optimizer_that_is_not_listed_is_refused():
    with pytest.raises(
        ConfigErrors, match=r"optimizer\.lr: is an option of AdamW, which sweep\.optimizers does not"
    ):
        swept(optimizer=OWN, optimizers=["SGD"], trials=2)


def test_what_is_stored_are_the_spaces_themselves():
    block = swept(optimizers=["SGD"], trials=2).to_dict()["sweep"]
    assert "optimizers" not in block
    assert block["spaces"][0]["parameters"]["optimizer.name"] == ["SGD"]


def test_mistakes_have_their_places(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        "problem: rosenbrock\nsteps: 5\nsweep:\n  method: random\n  trials: 4\n  optimizers: [SGD, Adamx, LBFGS]\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        load_sweep(file)
    assert [(issue.line, issue.column, issue.path) for issue in caught.value.issues] == [
        (6, 21, "sweep.optimizers.1"),
        (6, 28, "sweep.optimizers.2"),
    ]
    assert "Did you mean 'Adamax'?" in str(caught.value)
    assert "LBFGS declares no search space" in str(caught.value)


def test_without_a_method_that_draws_there_is_one_message_at_the_key():
    with pytest.raises(ConfigErrors) as caught:
        swept(method="grid", optimizers=["SGD", "Adam"])
    said = "draws from the search spaces of the optimizers: add 'method: random' and 'trials'"
    assert [(issue.path, issue.message) for issue in caught.value.issues] == [("sweep.optimizers", said)]


@pytest.mark.parametrize("given", [[], 3, [1], {"SGD": 1}, "every"])
def test_what_is_no_list_of_names_is_refused(given):
    with pytest.raises(ConfigErrors, match="optimizers"):
        swept(optimizers=given, trials=4)
