"""The Python API."""

import subprocess
import sys

import numpy as np
import pytest

import optrun
from optrun import errors
from optrun.config import from_mapping
from optrun.store import Store
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

CONFIG = {"problem": "beale", "optimizer": {"name": "Adam", "lr": 0.01}, "steps": 30}


def test_a_saved_run_is_read_back_as_it_was(tmp_path):
    done = optrun.run(CONFIG, overrides=["seed=2"])
    assert done.path is not None
    again = optrun.load_run(done.path)
    assert again.config == done.config
    assert again.config["seed"] == 2
    assert (again.status, again.steps, again.summary) == (done.status, done.steps, done.summary)
    for name in ("curves", "evaluations", "params"):
        ours, theirs = getattr(done, name), getattr(again, name)
        assert list(ours) == list(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])


def test_saved_or_not_a_file_or_a_mapping_the_numbers_are_the_same(tmp_path):
    (tmp_path / "beale.yaml").write_text("problem: beale\noptimizer: {name: Adam, lr: 1e-2}\nsteps: 30\n")
    saved, unsaved = optrun.run("beale.yaml"), optrun.run(CONFIG, save=False)
    assert unsaved.path is None
    for name in ("step", "loss", "lr"):
        assert saved.curves[name].tobytes() == unsaved.curves[name].tobytes()
        assert saved.curves[name].dtype == unsaved.curves[name].dtype


def test_progress_is_observed():
    seen = []
    optrun.run(CONFIG, save=False, observe=seen.append)
    assert seen[0].step == 0
    assert seen[0].steps == 30
    assert seen[0].lr == 0.01


def test_errors_are_typed():
    with pytest.raises(errors.ConfigError):
        optrun.run({**CONFIG, "stpes": 3})
    with pytest.raises(ValueError, match="Did you mean"):
        optrun.run(CONFIG, overrides=["optimizer.name=Adm"])
    with pytest.raises(errors.StoreError):
        optrun.load_run("nowhere")
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = optrun.rnu


def test_importing_optrun_is_light():
    code = "import sys, optrun; assert not {'numpy', 'pydantic', 'yaml', 'typer'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_error_is_in_the_tree():
    tree = errors.__doc__ or ""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.OptrunError):
            assert name in tree


def test_an_onlooker_that_fails_costs_no_run(tmp_path):
    def fail(progress):
        if progress.step > 0:
            raise BrokenPipeError("gone")

    config = {**CONFIG, "steps": 200_000, "checkpoint": {"every": "1ms"}}
    with pytest.raises(BrokenPipeError):
        optrun.run(config, observe=fail, directory="run")
    assert optrun.load_run("run").status == "interrupted"


def test_a_run_is_not_resumed_on_other_data(tmp_path):
    rows = [f"{x},{x * 2 + 1}" for x in range(20)]
    (tmp_path / "data.csv").write_text("\n".join(["x,y", *rows]))
    problem = {"name": "linear_regression", "data": str(tmp_path / "data.csv")}
    chosen = from_mapping({**CONFIG, "problem": problem})
    with Store.create(
        tmp_path, "x", directory=tmp_path / "run", config_yaml="", runs=[(chosen.to_dict(), 0)]
    ) as store:
        calls = iter(range(30))
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 3).run()
    (tmp_path / "data.csv").write_text("\n".join(["x,y", *rows]).replace("7,15", "7,16"))
    with pytest.raises(errors.StateError, match="data have changed"):
        optrun.resume(tmp_path / "run")


def test_overrides_are_a_list():
    with pytest.raises(errors.ConfigError, match="list of strings"):
        optrun.run(CONFIG, overrides="seed=1")
    with pytest.raises(errors.ConfigError, match="has no directory"):
        optrun.run(CONFIG, save=False, directory="x")


def test_a_resumed_run_is_running(tmp_path):
    chosen = from_mapping({**CONFIG, "checkpoint": {"every": 5}})
    seen = []
    with Store.create(
        tmp_path, "x", directory=tmp_path / "run", config_yaml="", runs=[(chosen.to_dict(), 0)]
    ) as store:
        calls = iter(range(30))
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 3).run()
    optrun.resume(
        tmp_path / "run", observe=lambda progress: seen.append(optrun.load_run(tmp_path / "run").status)
    )
    assert set(seen) == {"running"}
