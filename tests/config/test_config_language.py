"""What a config may say, and what comes of it."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from optrun.config import ConfigErrors, Duration, from_mapping, load, parse

pytestmark = pytest.mark.usefixtures("fakes")

SMALL = "problem: bowl\noptimizer: SGD\nsteps: 10\n"


def test_everything_that_was_not_said_has_its_default() -> None:
    assert parse(SMALL, "dir/small.yaml").to_dict() == {
        "name": "small",
        "problem": {"name": "bowl", "dim": 2, "start": None},
        "optimizer": {"name": "SGD", "lr": 0.001, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False},
        "steps": 10,
        "seed": 0,
        "dtype": "float32",
        "backend": "numpy",
        "engine": "auto",
        "record": {"every": 1, "metrics": ["loss", "lr"]},
        "checkpoint": {"every": "30s"},
        "stop": {"divergence": {"factor": 1000.0}},
    }


def test_everything_that_was_said_is_kept() -> None:
    config = parse(
        """
name: all of it
problem: {name: Net, data: digits, hidden: [8, 4], activation: tanh, batch_size: null, bias: false}
optimizer:
  name: adam
  lr: 1
  betas: [0.8, 0.9]
  param_groups:
    - {params: "*.bias", weight_decay: 0}
    - {params: [a, "b*"], betas: [0, 0.5], amsgrad: true}
scheduler:
  name: sequential_lr
  schedulers: [{name: StepLR, step_size: 5e2}, {name: RangeLR, base: [1, 2]}, {name: RangeLR, base: 3}]
  milestones: [5, 7]
epochs: 3
seed: 9223372036854775807
dtype: float64
record: {every: 2, metrics: [param_norm, grad_norm, loss]}
evaluate: {every: 50}
checkpoint: {every: 7}
stop: {target: -1, divergence: 1e6, patience: 200, time: 1.5h}
"""
    )
    assert config.problem.name == "net"
    assert config.problem.options["hidden"] == [8, 4]
    assert config.problem.options["batch_size"] is None
    assert config.optimizer.name == "Adam"
    assert config.optimizer.options == {
        "lr": 1.0,
        "beta1": 0.8,
        "beta2": 0.9,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "amsgrad": False,
    }
    assert isinstance(config.optimizer.options["lr"], float)
    first, second = config.optimizer.param_groups
    assert (first.params, first.options) == (["*.bias"], {"weight_decay": 0.0})
    assert (second.params, second.options) == (["a", "b*"], {"beta1": 0.0, "beta2": 0.5, "amsgrad": True})
    assert config.scheduler is not None
    assert config.scheduler.name == "SequentialLR"
    steps, many, one = config.scheduler.options["schedulers"]
    assert (steps.name, steps.options) == ("StepLR", {"step_size": 500, "gamma": 0.1})
    assert (many.options["base"], one.options["base"]) == ([1.0, 2.0], 3.0)
    assert (config.steps, config.epochs) == (None, 3)
    assert config.seed == 2**63 - 1
    assert config.record.metrics == ["loss", "lr", "grad_norm", "param_norm"]
    assert config.checkpoint.every == 7
    assert isinstance(config.stop.time, Duration)
    assert config.stop.time.seconds == 5400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), ("0.5m", 30), ("1h30m", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    config = parse(SMALL + f"checkpoint: {{every: {text}}}")
    assert isinstance(config.checkpoint.every, Duration)
    assert config.checkpoint.every.seconds == seconds
    assert config.to_dict()["checkpoint"] == {"every": text}


@pytest.mark.parametrize("section", ["scheduler", "evaluate", "epochs", "name"])
def test_null_is_as_if_it_were_not_there(section: str) -> None:
    assert parse(SMALL + f"{section}: null") == parse(SMALL)


def test_no_checkpoints() -> None:
    config = parse(SMALL + "checkpoint: null")
    assert config.checkpoint.every is None
    assert parse(config.to_yaml()) == config


def test_aliases_repeat_a_value() -> None:
    text = "problem: {name: net, data: d, hidden: &h [3, 4]}\noptimizer: SGD\nsteps: 1\n"
    text += "scheduler: {name: RangeLR, base: *h}\n"
    config = parse(text, overrides=["problem.hidden.0=5"])
    assert config.problem.options["hidden"] == [5, 4]
    assert config.scheduler is not None
    assert config.scheduler.options["base"] == [3.0, 4.0]


def test_plain_values_make_the_same_config() -> None:
    config = from_mapping({"name": "small", "problem": "bowl", "optimizer": {"name": "SGD"}, "steps": 10})
    assert config == parse(SMALL, "small.yaml")
    assert from_mapping(config.to_dict()) == config


def test_a_path_is_relative_to_the_file_and_in_an_override_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "run.yaml"
    monkeypatch.chdir(tmp_path)

    def data(written: str, *overrides: str) -> Any:
        file.write_text(f"problem: {{name: net, data: {written}}}\noptimizer: SGD\nsteps: 1\n")
        return load(file, overrides).problem.options["data"]

    assert data("digits") == "digits"
    assert data("mine.csv") == str(tmp_path / "sub" / "mine.csv")
    assert data("../mine.csv") == str(tmp_path / "mine.csv")
    assert data("~no-such-user/mine.csv") == str(tmp_path / "sub" / "~no-such-user" / "mine.csv")
    assert data("/a/mine.csv") == "/a/mine.csv"
    assert data("digits", "problem.data=mine.csv") == str(tmp_path / "mine.csv")
    config = load(file, ["problem.data=mine.csv"])
    assert parse(config.to_yaml(), "elsewhere/run.yaml").problem == config.problem
    mapping = {"problem": {"name": "net", "data": "mine.csv"}, "optimizer": "SGD", "steps": 1}
    assert from_mapping(mapping).problem == config.problem


def test_a_bom_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load(file) == parse(SMALL, "small.yaml")


def test_the_digest_is_that_of_the_values() -> None:
    config = parse(SMALL, "small.yaml")
    assert config.digest == parse("steps: 1e1\nname: small\noptimizer: sgd\nproblem: {name: Bowl}\n").digest
    assert config.digest != parse(SMALL, "small.yaml", ["seed=1"]).digest
    canonical = json.dumps(config.to_dict(), sort_keys=True, separators=(",", ":"))
    assert config.digest == hashlib.sha256(canonical.encode()).hexdigest()


def test_configs_and_errors_travel_between_processes() -> None:
    config = parse(
        SMALL + "scheduler: {name: SequentialLR, schedulers: [{name: RangeLR, base: 1}], milestones: []}"
    )
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ConfigErrors) as caught:
        parse("steps: x")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.issues == caught.value.issues
    assert str(copy) == str(caught.value)


def test_nothing_stops_a_run_without_a_section_that_does() -> None:
    assert parse(SMALL + "stop: null").stop.divergence is None
    assert parse(SMALL + "stop: {divergence: null}").stop.divergence is None
    assert parse(SMALL + "stop: {divergence: 1e6}").stop.divergence == 1e6
