"""An override wins over a file, a file over what it extends; of two that exclude each other the later is to blame."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from optrun import run
from optrun.config import ConfigErrors, RunConfig, from_mapping, load, parse, resolve
from optrun.errors import ConfigError

pytestmark = pytest.mark.usefixtures("fakes")

JOINT = "problem: bowl\noptimizer: {name: Adam, betas: [0.9, 0.99]}\nsteps: 1\n"
PARTS = "problem: bowl\noptimizer: {name: Adam, beta1: 0.9, beta2: 0.99}\nsteps: 1\n"
GROUP = "problem: bowl\noptimizer: {name: Adam, param_groups: [{params: x, betas: [0.9, 0.99]}]}\nsteps: 1\n"


def betas(config: RunConfig) -> tuple[Any, Any]:
    return config.optimizer.options["beta1"], config.optimizer.options["beta2"]


def refused(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse(text, "f.yaml", overrides)
    return str(caught.value).splitlines()


def extending(base: str, child: str) -> Path:
    Path("base.yaml").write_text(base)
    Path("child.yaml").write_text(f"extends: base.yaml\n{child}")
    return Path("child.yaml")


@pytest.mark.parametrize(
    ("text", "overrides", "found"),
    [
        (JOINT, ["optimizer.beta1=0.2"], (0.2, 0.99)),
        (JOINT, ["optimizer.beta1=0.2", "optimizer.betas.1=0.3"], (0.2, 0.3)),
        (PARTS, ["optimizer.betas=[0.1,0.2]"], (0.1, 0.2)),
        (PARTS, ["optimizer.betas.0=0.1"], (0.1, 0.99)),
        ("problem: bowl\noptimizer: Adam\nsteps: 1\n", ["optimizer.betas.1=0.5"], (0.9, 0.5)),
    ],
)
def test_an_override_in_another_spelling_wins(text: str, overrides: list[str], found: Any) -> None:
    assert betas(parse(text, overrides=overrides)) == found


def test_an_override_of_a_group_in_another_spelling_wins() -> None:
    (group,) = parse(GROUP, overrides=["optimizer.param_groups.0.beta2=0.5"]).optimizer.param_groups
    assert group.options == {"beta1": 0.9, "beta2": 0.5}


@pytest.mark.parametrize(
    ("base", "child", "found"),
    [
        (JOINT, "optimizer: {beta1: 0.2}\n", (0.2, 0.99)),
        (PARTS, "optimizer: {betas: [0.1, 0.2]}\n", (0.1, 0.2)),
        ("optimizer: {betas: [0.1, 0.2]}\n", "optimizer: {name: Adam, beta2: 0.3}\nproblem: bowl\nsteps: 1\n",
         (0.1, 0.3)),
    ],
)  # fmt: skip
def test_an_extending_file_in_another_spelling_wins(base: str, child: str, found: Any) -> None:
    assert betas(load(extending(base, child))) == found


def test_each_part_of_a_tuple_keeps_its_place() -> None:
    found = resolve(extending(JOINT, "optimizer: {beta1: 0.2}\n"))
    assert str(found.place(("optimizer", "beta1"))) == "child.yaml:2:20"
    assert str(found.place(("optimizer", "beta2"))) == "base.yaml:2:38"


def test_what_is_wrong_with_a_tuple_stays_wrong() -> None:
    twice = JOINT.replace("betas", "beta1: 0.1, betas")
    assert refused(twice) == ["f.yaml:2:44: optimizer.betas: betas and beta1 are both set: choose one"]
    wrong = "optimizer.betas: must be a list of 2: [beta1, beta2] (got "
    (line,) = refused(PARTS, "optimizer.betas=[0.1]")
    assert line == f"override 'optimizer.betas=[0.1]': {wrong}[0.1])"
    assert refused(JOINT.replace(", 0.99", ""), "optimizer.beta1=0.2") == [f"f.yaml:2:32: {wrong}[0.9])"]


def test_of_steps_and_epochs_the_later_one_is_to_blame() -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(extending(PARTS.replace("steps", "epochs"), "steps: 3\n"))
    both = "steps: steps and epochs are both set: turn one off (epochs=null); epochs is at"
    assert str(caught.value) == f"child.yaml:2:8: {both} base.yaml:3:9"
    (line,) = refused(PARTS.replace("steps", "epochs"), "steps=3")
    assert line == f"override 'steps=3': {both} f.yaml:3:9"


def test_of_two_bounds_the_later_one_is_to_blame() -> None:
    (line,) = refused(PARTS + "expect: {final_loss: {max: 1}}\n", "expect.final_loss.min=1e6")
    assert line.endswith(
        "expect.final_loss.min: must be ≤ max, which is 1 (got 1e+06); max is at f.yaml:4:28"
    )
    assert line.startswith("override")


def test_another_name_says_how_to_replace_the_section() -> None:
    for line in refused(PARTS, "optimizer.name=SGD"):
        assert line.endswith("; to replace the whole section write optimizer=SGD")
    assert "replace" not in refused(PARTS, "optimizer.name=SGD", "optimizer.beta3=1")[-1]
    assert "replace" not in refused(PARTS, "optimizer={name: SGD, beta1: 1}")[0]


def test_a_group_is_blamed_for_what_it_says() -> None:
    optimizer = "{name: SGD, nesterov: true, momentum: 1, param_groups: [{params: x, momentum: 0}]}"
    text = f"problem: bowl\nsteps: 1\noptimizer: {optimizer}\n"
    assert refused(text) == ["f.yaml:3:90: optimizer.param_groups.0.momentum: needs momentum"]


def test_the_length_of_the_run_is_missed_beside_other_mistakes() -> None:
    lines = refused("problem: bowl\noptimizer: {name: SGD, lr: -1}\n")
    assert len(lines) == 2
    assert any("steps: missing: how long is the run?" in line for line in lines)
    assert refused("problem: bowl\noptimizer: SGD\nepoch: 3\n") == [
        "f.yaml:3:1: epoch: unknown key. Did you mean 'epochs'?"
    ]


def test_what_an_override_goes_into_may_not_be_set() -> None:
    (line,) = refused(PARTS, "optimizer.param_groups.0.params=x")
    assert line.endswith("optimizer.param_groups is not set")


def test_values_of_numpy_and_paths() -> None:
    config = from_mapping(
        {
            "problem": {"name": "net", "data": PurePosixPath("/x.csv"), "bias": np.False_, "hidden": [np.int64(3)]},
            "optimizer": {"name": "SGD", "lr": np.float32(0.5)},
            "steps": np.int32(3),
        }
    )  # fmt: skip
    assert config.problem.options["data"] == "/x.csv"
    assert config.problem.options["bias"] is False
    assert config.problem.options["hidden"] == [3]
    assert (config.optimizer.options["lr"], config.steps) == (0.5, 3)
    assert type(config.steps) is int


def test_a_value_that_no_config_holds_is_refused_at_its_path() -> None:
    with pytest.raises(ConfigErrors) as caught:
        from_mapping({"problem": {"name": "bowl", "dim": {1, 2}}})
    assert caught.value.issues[0].path == "problem.dim"


@pytest.mark.parametrize("config", [None, [{}], 3])
def test_a_run_says_what_it_takes(config: Any) -> None:
    with pytest.raises(ConfigError, match="takes a RunConfig, a mapping or the path of a YAML file, not "):
        run(config, save=False)
