"""`run --smoke` and `run --dry-run`: a config cut short, and what would happen."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.config import Duration, from_mapping, load
from optrun.config.map import is_map
from optrun.config.shorten import SMOKE_STEPS, smoke
from optrun.config.sweep.resolve import is_sweep
from optrun.registry import schedulers
from optrun.training.pack import Pack
from tests.cli.test_cli import CONFIG, call

SHIPPED = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
CONFIGS = [path for path in SHIPPED if not (is_sweep(path) or is_map(path))]
BASE = {"problem": "rosenbrock", "optimizer": "Adam", "steps": 20_000}
SHAPED = BASE | {
    "name": "shaped",
    "scheduler": {
        "name": "SequentialLR",
        "milestones": [10, 20, 10_000],
        "schedulers": [
            {"name": "LinearLR", "start_factor": 0.0, "total_iters": 10},
            {"name": "ConstantLR", "total_iters": 4},
            {"name": "CosineAnnealingLR", "T_max": 9_980},
            {"name": "StepLR", "step_size": 2_000, "gamma": 0.5},
        ],
    },
    "evaluate": {"every": 1_000},
    "record": {"every": 10, "metrics": ["grad_norm"]},
    "checkpoint": {"every": 5_000},
    "stop": {"patience": 400, "target": 1e-3, "time": "1h"},
    "expect": {"final_loss": {"max": 1.0}},
}


def test_smoke_cuts_all_that_counts_steps_alike_and_nothing_else():
    config = from_mapping(SHAPED)
    short, changes = smoke(config, 20_000)
    assert (short.steps, short.epochs, short.name) == (100, None, "shaped-smoke")
    assert short.scheduler.options["milestones"] == [1, 2, 50]
    linear, constant, cosine, step = short.scheduler.options["schedulers"]
    assert (linear.options["total_iters"], constant.options["total_iters"]) == (1, 1)
    assert (cosine.options["T_max"], step.options) == (
        50,
        {"step_size": 10, "gamma": 0.5, "interval": None},
    )
    assert (short.evaluate.every, short.record.every, short.checkpoint.every) == (5, 1, 25)
    assert (short.stop.patience, short.stop.target, short.stop.time) == (None, 1e-3, Duration("2s"))
    assert (short.optimizer, short.problem, short.seed) == (config.optimizer, config.problem, config.seed)
    assert short.record.metrics == config.record.metrics
    assert not short.expect
    assert "100 steps in place of 20,000" in changes
    assert config == from_mapping(SHAPED)  # a pure function
    assert from_mapping(short.to_dict()) == short  # and its result a config


def test_smoke_turns_epochs_into_steps():
    config = from_mapping({"problem": "rosenbrock", "optimizer": "Adam", "epochs": 5_000})
    short, _ = smoke(config, 5_000)
    assert (short.steps, short.epochs) == (100, None)
    assert from_mapping(short.to_dict()) == short


def test_smoke_leaves_a_short_config_as_it_is():
    config = from_mapping(BASE | {"steps": 40, "scheduler": {"name": "StepLR", "step_size": 7}})
    short, _ = smoke(config, 40)
    assert (short.steps, short.scheduler) == (40, config.scheduler)


def _stub(name):
    options = {"T_max": 5_000, "step_size": 5_000, "gamma": 0.9, "milestones": [5_000, 9_000], "T_0": 5_000}
    options |= {"total_steps": 20_000, "max_lr": 0.1, "base_lr": 0.01, "factors": [1.0, 0.5]}
    options |= {"lr_lambda": "0.9 ** t", "swa_lr": 0.1, "schedulers": ["ConstantLR"] * 3}
    cls = schedulers.find(name)
    required = [option.name for option in cls.options().values() if option.required]
    if not set(required) <= options.keys():
        pytest.skip(f"{name} needs {required}")
    needed = [*required, "total_steps"] if "total_steps" in cls.options() else required
    return {"name": name} | {option: options[option] for option in needed}


@pytest.mark.parametrize("name", list(schedulers))
def test_a_schedule_cut_short_is_a_config(name):
    config = from_mapping(BASE | {"scheduler": _stub(name)})
    short, _ = smoke(config, 20_000)
    assert from_mapping(short.to_dict()) == short


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_smokes(config):
    whole = load(config)
    short, _ = smoke(whole, Pack([whole]).steps)
    run = optrun.run(short, save=False)
    assert run.steps <= SMOKE_STEPS
    assert run.status in ("completed", "target_reached", "early_stopped", "timed_out")


def test_smoke_counts_epochs_and_says_what_it_did(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG.replace("steps: 40", "epochs: 100"))
    done = call("run", "small.yaml", "--smoke")
    assert done.returncode == 0
    assert re.search(
        r"smoke: 100 steps in place of \d+; what counts steps is cut alike; at most 2s", done.stderr
    )
    assert "after 100 steps" in done.stdout
    assert "smoke" not in call("run", "small.yaml", "--smoke", "-q").stderr


def test_smoke_keeps_the_shape_of_the_rate():
    long = from_mapping(BASE | {"steps": 2_000, "scheduler": {"name": "CosineAnnealingLR", "T_max": 2_000}})
    short, _ = smoke(long, 2_000)
    rates = [optrun.run(config, save=False).curves["lr"] for config in (long, short)]
    np.testing.assert_allclose(rates[1], rates[0][::20], rtol=1e-12)


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    return "small.yaml"


def test_a_dry_run_says_what_would_happen_and_writes_nothing(small, tmp_path):
    done = call("run", small, "--dry-run", "optimizer.lr=0.25", "stop.patience=9")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "small would run"
    values = dict(re.split("  +", line.strip(), maxsplit=1) for line in done.stdout.splitlines()[1:])
    assert values["problem"] == "softmax_regression, 15 parameters, float32"  # 4 × 3 weights and 3 biases
    assert values["optimizer"] == "Adam, lr 0.25"
    assert values["scheduler"] == "CosineAnnealingLR"
    assert values["steps"].startswith("40")
    assert values["time"].startswith("about ")
    assert values["ends early"] == "divergence 1000 × the first loss, patience 9"
    assert values["stored in"] == "runs/<time>-small-<4 hex digits>"
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_dry_run_in_json(small):
    plan = json.loads(call("run", small, "-n", "--json", "--no-save", "epochs=3", "steps=null").stdout)
    assert (plan["steps"], plan["parameters"], plan["lanes"], plan["run"]) == (3 * 4, 15, 1, None)
    assert plan["seconds"] > 0
    assert plan["config"]["epochs"] == 3


def test_a_dry_run_refuses_what_the_run_would_refuse(small, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    done = call("run", small, "-n", "-o", "taken")
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert call("run", small, "-n", "problem.data=missing.csv").returncode == 2


@pytest.fixture
def late(tmp_path):
    (tmp_path / "late.yaml").write_text(
        "problem: rosenbrock\nsteps: 9\noptimizer:\n  name: Adam\n  param_groups: [{params: q}]\n"
    )
    return "late.yaml"


@pytest.mark.parametrize(
    "command",
    [["run"], ["run", "--dry-run"], ["run", "--smoke"], ["validate"], ["curves", "--schedule"]],
    ids=" ".join,
)
def test_a_late_refusal_has_its_place(late, command):
    done = call(*command, late)
    assert done.returncode == 2
    assert done.stderr.startswith("late.yaml:5:27: optimizer.param_groups.0.params: ")


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--smoke"]])
def test_a_directory_for_what_is_not_saved_is_refused(small, more):
    done = call("run", small, "--no-save", "-o", "zz", *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--output: a run that is not saved has no directory\n"


def test_a_result_and_a_plan_carry_no_escape_codes(small):
    override = 'name="a\\e[31m\\u202eb"'
    for done in (call("run", small, "--no-save", override), call("run", small, "-n", override)):
        assert done.returncode == 0
        assert "a?[31m?b" in done.stdout
        assert not re.search("[\x1b\u202e]", done.stdout + done.stderr)


def test_an_error_carries_no_escape_codes(tmp_path):
    (tmp_path / "bad\x1b\u202e.yaml").write_text("steps: 0\n")
    for command in ("run", "validate"):
        done = call(command, "bad\x1b\u202e.yaml")
        assert done.returncode == 2
        assert "bad??.yaml:1:" in done.stderr
        assert not re.search("[\x1b\u202e]", done.stdout + done.stderr)


def test_resume_ends_as_run_does_where_an_expectation_is_missed(small):
    missed = call("run", small, "-o", "mine", "expect.final_loss.max=1e-9")
    again = call("resume", "mine")
    assert (missed.returncode, again.returncode) == (4, 4)
    assert "mine/config.yaml: expect.final_loss: " in again.stderr


def test_a_run_that_has_completed_goes_on_to_more_steps(small):
    def rest(directory):
        return (Path(directory) / "metrics.csv").read_bytes()

    call("run", small, "-o", "short", "steps=6")
    call("run", small, "-o", "whole", "steps=9")
    again = call("resume", "short", "--steps", "9")
    assert again.returncode == 0
    assert "completed after 9 steps" in again.stdout
    assert rest("short") == rest("whole")
    refused = call("resume", "short", "--steps", "9")
    assert (refused.returncode, refused.stderr) == (2, "steps: 9 steps are not more than the run's 9\n")


def test_a_single_run_is_resumed_as_one_process(small):
    assert call("run", small, "-o", "mine").returncode == 0
    for given in (("--jobs", "2"), ("--executor", "dask"), ("--address", "tcp://a:8786")):
        done = call("resume", "mine", *given)
        assert (done.returncode, done.stderr) == (
            2,
            f"{given[0]} is for sweeps: a single run is one process\n",
        )
