"""The Python API."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun import errors
from optrun.config import from_mapping
from optrun.registry import optimizers
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
        tmp_path, "x", directory=tmp_path / "run", config_yaml=chosen.to_yaml(), runs=[(chosen.to_dict(), 0)]
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
        tmp_path, "x", directory=tmp_path / "run", config_yaml=chosen.to_yaml(), runs=[(chosen.to_dict(), 0)]
    ) as store:
        calls = iter(range(30))
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 3).run()
    optrun.resume(
        tmp_path / "run", observe=lambda progress: seen.append(optrun.load_run(tmp_path / "run").status)
    )
    assert set(seen) == {"running"}


PLUGIN = """\
from optrun.optim import SGD


class Inertia(SGD):
    pass
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "inertia.py").write_text(PLUGIN)
    yield ["inertia.py"]
    for names in (optimizers._classes, optimizers._names):
        names.pop("inertia", None)


@pytest.mark.full
@pytest.mark.parametrize("jobs", [1, 2])
def test_plugins_are_loaded_where_python_calls_and_in_its_workers(jobs, plugin):
    swept = {**CONFIG, "optimizer": "Inertia", "sweep": {"parameters": {"optimizer.lr": [1e-4, 1e-3]}}}
    with pytest.raises(errors.ConfigError, match="unknown optimizer 'Inertia'"):
        optrun.sweep(swept)
    done = optrun.sweep(swept, plugins=plugin, jobs=jobs)
    assert [state.status for state in done.states] == ["completed"] * 2
    before = optimizers.find("Inertia")
    alone = optrun.run({**CONFIG, "optimizer": {"name": "Inertia", "lr": 1e-4}}, plugins=plugin)
    assert optimizers.find("Inertia") is before  # it has not changed, and is not loaded again
    assert alone.curves["loss"].tobytes() == done.runs[0].curves["loss"].tobytes()
    (Path("inertia.py")).write_text(f"{PLUGIN}\n")
    optrun.resume(alone.path, plugins=plugin)
    assert optimizers.find("Inertia") is not before


def test_runs_and_sweeps_are_loaded_by_the_names_that_commands_take():
    alone = optrun.run(CONFIG, directory="runs/20260101-alone")
    sweep = optrun.sweep({**CONFIG, "sweep": {"parameters": {"optimizer.lr": [0.1, 0.2, 0.3]}}})
    assert optrun.load_run("20260101").path == alone.path
    assert optrun.resume("20260101-alone").path == alone.path
    for name in (f"{sweep.path}:2", f"{sweep.path.name}:2", "latest:2"):
        assert optrun.load_run(name).config == sweep.runs[2].config == optrun.load_run(sweep.path, 2).config
    for name in (sweep.path, sweep.path.name, "latest"):
        again = optrun.load_sweep(name)
        assert (again.path, again.table(), again.left) == (sweep.path, sweep.table(), 0)
        assert again.sensitivity("optimizer.lr").best == sweep.sensitivity("optimizer.lr").best
        assert list(again.configs) == list(sweep.configs)
        assert (again.settings, again.metric, len(again.runs)) == (sweep.plan.settings, sweep.metric, 3)
    assert repr(again.runs) == f"<3 runs of {sweep.path}>"
    with pytest.raises(errors.StoreError, match="name one of them, such as .*:0"):
        optrun.load_run("latest")
    with pytest.raises(errors.StoreError, match="names run 1, not run 2"):
        optrun.load_run("latest:1", 2)
    with pytest.raises(errors.StoreError, match="a single run, not a sweep"):
        optrun.load_sweep(alone.path)
    with pytest.raises(errors.StoreError, match="run 1 of a sweep: read it with optrun.load_run"):
        optrun.load_sweep("latest:1")


@pytest.mark.parametrize("name", ["overrides", "plugins"])
@pytest.mark.parametrize("given", [[3], "steps=3", 3, {"steps": 3}])
def test_a_list_of_strings_is_nothing_else(name, given):
    for function in (optrun.run, optrun.sweep):
        with pytest.raises(errors.ConfigError, match=f"{name} must be a list of strings") as caught:
            function(CONFIG, **{name: given})
        assert caught.value.field == name


@pytest.mark.full
def test_the_public_names_are_these_and_come_at_their_first_use():
    classes = "Check Comparison LearningRates Map Run Sweep __version__"
    others = "check compare errors load_run load_sweep lr_find map noise optim problems report resume run"
    others += " schedulers sweep"
    assert dir(optrun) == [*classes.split(), *others.split()]
    code = (
        "import optrun, sys; assert 'numpy' not in sys.modules\n"
        "for name in dir(optrun): getattr(optrun, name)\n"
        "import optrun.sweeps.plan.packs; assert callable(optrun.sweep)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
