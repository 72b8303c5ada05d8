"""Overrides: key.path=value, by the rules of the file."""

import re
from importlib import resources
from typing import Any

import pytest

from optrun.config import ConfigErrors, parse

pytestmark = pytest.mark.usefixtures("fakes")

TEXT = """\
problem: {name: net, data: digits, hidden: [64, 32]}
optimizer: {name: Adam, lr: 1e-3, betas: [0.9, 0.99], param_groups: [{params: "*.bias", lr: 1}]}
scheduler: {name: SequentialLR, schedulers: [{name: StepLR, step_size: 3}], milestones: [2, 4]}
steps: 10
"""


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("optimizer.lr=1e-2", "optimizer.lr", 0.01),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("optimizer.betas.1=0.5", "optimizer.beta2", 0.5),
        ("optimizer.betas=[0, 0.5]", "optimizer.beta2", 0.5),
        ("optimizer.param_groups.0.lr=1e-2", "optimizer.param_groups.0.lr", 0.01),
        ("optimizer.param_groups=null", "optimizer", {}),
        ("problem.hidden=[8,8]", "problem.hidden", [8, 8]),
        ("problem.hidden.1=80", "problem.hidden", [64, 80]),
        ("problem.copy='a,b'", "problem.copy", "a,b"),
        ('problem.copy=""', "problem.copy", ""),
        ("problem.copy=a=b", "problem.copy", "a=b"),
        ("problem.copy=f(1,2,3)", "problem.copy", "f(1,2,3)"),
        ("problem.copy=no", "problem.copy", "no"),
        ("problem={name: bowl, dim: 3}", "problem.dim", 3),
        ("problem=bowl", "problem.dim", 2),
        ("scheduler.milestones.1=80", "scheduler.milestones", [2, 80]),
        ("scheduler.schedulers.0.step_size=5", "scheduler.schedulers.0.step_size", 5),
        ("record.metrics=[grad_norm]", "record.metrics", ["loss", "lr", "grad_norm"]),
        ("stop.time=10m", "stop.time", "10m"),
        (" seed = 3 ", "seed", 3),
        ("steps=5e2", "steps", 500),
        ("name=other", "name", "other"),
    ],
)
def test_an_override_sets_a_value(override: str, path: str, value: Any) -> None:
    found: Any = parse(TEXT, overrides=[override]).to_dict()
    for step in path.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    if path == "optimizer":
        assert "param_groups" not in found
    else:
        assert found == value
        assert type(found) is type(value)


def test_overrides_apply_in_their_order() -> None:
    config = parse(TEXT, overrides=["scheduler=null", "optimizer=SGD", "optimizer.lr=3"])
    assert config.scheduler is None
    assert (config.optimizer.name, config.optimizer.options["lr"]) == ("SGD", 3.0)
    assert parse(TEXT, overrides=["steps=null", "epochs=2"]).epochs == 2
    assert parse(TEXT, overrides=["scheduler=null", "scheduler.name=RangeLR", "scheduler.base=1"]).scheduler


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("steps=5", "steps=6", "steps: override 'steps=5' sets it too: give one of them"),
        ("steps=5", " steps =5", "steps: override 'steps=5' sets it too: give one of them"),
        ("problem={name: bowl, dim: 3}", "problem.dim=4",
         "problem.dim: override 'problem={name: bowl, dim: 3}' sets it too: give one of them"),
        ("problem.hidden=[8,8]", "problem.hidden.1=4",
         "problem.hidden.1: override 'problem.hidden=[8,8]' sets it too: give one of them"),
        ("optimizer.beta1=0.2", "optimizer.betas=[0.4, 0.5]",
         "optimizer.betas: override 'optimizer.beta1=0.2' sets it too: give one of them"),
        ("optimizer.betas=[0.4, 0.5]", "optimizer.beta1=0.2",
         "optimizer.beta1: override 'optimizer.betas=[0.4, 0.5]' sets it too: give one of them"),
        ("optimizer.lr=3", "optimizer=SGD",
         "optimizer: would undo override 'optimizer.lr=3': give that after this one"),
    ],
)  # fmt: skip
def test_an_override_replaces_no_other_one(first: str, second: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(TEXT, "f.yaml", [first, second])
    assert str(caught.value) == f"override {second!r}: {message}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=1", "optimizer.lrr: unknown key. Did you mean 'lr'?"),
        ("optimzer.lr=1", "optimzer: unknown key. Did you mean 'optimizer'?"),
        ("lr=1", "lr: unknown key. Did you mean 'optimizer.lr'?"),
        ("optimizer.lr=-1", "optimizer.lr: must be ≥ 0 (got -1)"),
        ("optimizer.lr='1'", "optimizer.lr: must be a number (got '1'); '1' is a string here: remove the quotes"),
        ("optimizer.name=Adm", "optimizer.name: unknown optimizer 'Adm'. Did you mean 'Adam'?"),
        ("epochs=3", "epochs: steps and epochs are both set: turn one off (steps=null); steps is at f.yaml:4:8"),
        ("optimizer.lr=", "optimizer.lr: no value after '='; optimizer.lr=null turns it off, "
                          "optimizer.lr='\"\"' is an empty string"),
        ("optimizer.lr", "an override is written key.path=value, such as optimizer.lr=1e-3"),
        ("=1", "an override is written key.path=value, such as optimizer.lr=1e-3"),
        ("optimizer..lr=1", "an override is written key.path=value, such as optimizer.lr=1e-3"),
        ("a\udcffb=1", "an override is written key.path=value, such as optimizer.lr=1e-3"),
        ("problem.hidden=1,2", "problem.hidden: a list is written 'problem.hidden=[1,2]'; "
                               "text with a comma needs quotes of its own; `optrun sweep` runs each value"),
        ("optimizer.lr=0,01", "optimizer.lr: a number has a decimal point, 0.01; a list is written "
                              "'optimizer.lr=[0,01]'; text with a comma needs quotes of its own; "
                              "`optrun sweep` runs each value"),
        ("optimizer.lr=,", "optimizer.lr: must be a number (got ',')"),
        ("problem.hidden=[1,2", "problem.hidden: a comma or ']' is missing (it starts at line 1)"),
        ("problem.hidden=[1]]", "problem.hidden: nothing may follow the config here"),
        ("problem.hidden=[1e999]", "problem.hidden: the number 1e999 is too large for a float"),
        ("problem.hidden.2=1", "problem.hidden.2: '2' is no place in a list of 2: they count from 0"),
        ("optimizer.betas.2=1", "optimizer.betas.2: '2' is no place in a list of 2: they count from 0"),
        ("problem.hidden.x=1", "problem.hidden.x: 'x' is no place in a list of 2: they count from 0"),
        ("problem.hidden.-1=1", "problem.hidden.-1: '-1' is no place in a list of 2: they count from 0"),
        ("steps.a=1", "steps.a: steps is 10, which has no 'a'"),
        ("optimizer.name.a=1", "optimizer.name.a: optimizer.name is 'Adam', which has no 'a'"),
        ("problem.copy=!!python/name:os.system", "problem.copy: the tag !!python/name:os.system means nothing"
                                                 " in a config: remove it"),
        ("problem.copy=\udcff", "problem.copy: the character U+DCFF is not allowed in YAML: is this a text file?"),
    ],
)  # fmt: skip
def test_an_override_that_cannot_be_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(TEXT, "f.yaml", [override])
    assert str(caught.value) == f"override {override!r}: {message}"


def test_a_name_keeps_the_other_keys_which_may_be_refused() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(TEXT, "f.yaml", ["optimizer.name=SGD"])
    (issue,) = caught.value.issues
    assert (issue.line, issue.column, issue.path) == (2, 35, "optimizer.betas")


def test_the_issues_of_a_file_and_of_its_overrides_come_together() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(TEXT + "sed: 1\nsteps: 2\n", "f.yaml", ["optimizer.lrr=1", "x", "seed=a"])
    assert str(caught.value).splitlines() == [
        "f.yaml:5:1: sed: unknown key. Did you mean 'seed'?",
        "f.yaml:6:1: steps: duplicate key (first at line 4)",
        "override 'x': an override is written key.path=value, such as optimizer.lr=1e-3",
        "override 'optimizer.lrr=1': optimizer.lrr: unknown key. Did you mean 'lr'?",
        "override 'seed=a': seed: must be an integer (got 'a')",
    ]


def test_an_override_of_a_shared_value_changes_one_place() -> None:
    text = "problem: {name: net, data: d, hidden: &h [3, 4]}\noptimizer: SGD\nsteps: 1\n"
    text += "scheduler: {name: RangeLR, base: *h}\n"
    config = parse(text, overrides=["scheduler.base.0=9"])
    assert config.problem.options["hidden"] == [3, 4]


def test_a_part_that_a_tuple_does_not_have_is_named() -> None:
    with pytest.raises(ConfigErrors, match=r"optimizer\.betas\.2: optimizer\.betas is not set"):
        parse("problem: net\noptimizer: Adam\nsteps: 1", overrides=["optimizer.betas.2=0.5"])


def test_null_turns_off_what_the_guide_lists():
    text = (resources.files("optrun") / "guide" / "configs.md").read_text(encoding="utf-8")
    listed = text.partition("`null` turns off what can be off:")[2].partition(", each key")[0]
    keys = re.findall("`([a-z.]+)`", listed)
    assert len(keys) > 5
    for key in keys:
        if not key.startswith("sweep"):
            parse(TEXT, overrides=[f"{key}=null"])
