"""`record.params` keeps the parameters along a run: once, at the steps that it names, whatever happens on the way."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.errors import ConfigError, StoreError
from optrun.store import Store
from optrun.store.check import faults
from optrun.store.locate import RESULTS
from optrun.training import snapshots
from optrun.training.config_notes import ineffective_options
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

PARABOLA = {
    "problem": {"name": "quadratic", "dim": 1, "condition": 1.0},
    "optimizer": {"name": "SGD", "lr": 0.25},
    "steps": 12,
    "dtype": "float64",
}
RUN = {
    "problem": {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 16},
    "optimizer": {"name": "Adam", "lr": 0.1},
    "steps": 24,
    "checkpoint": {"every": 5},
    "record": {"params": [0, 5, 9, 17]},
}


def kept(run, steps=(0, 5, 9, 17)):
    return [(name, step, values.tobytes()) for step in steps for name, values in run.params_at(step).items()]


@pytest.mark.parametrize("save", [True, False])
def test_a_step_of_gradient_descent_multiplies_the_parameters(save, tmp_path):
    """xₖ - x* = (x₀ - x*) (1 - lr)ᵏ, since the second derivative is 1: a rate of 1 leads to x* in one step."""
    lowest = optrun.run({**PARABOLA, "optimizer": {"name": "SGD", "lr": 1.0}}, save=False).params["x"]
    directory = tmp_path / "run" if save else None
    run = optrun.run({**PARABOLA, "record": {"params": [10, 3, 0]}}, save=save, directory=directory)
    start = run.params_at(0)["x"]
    assert start != lowest
    for step in (0, 3, 10, 12):
        np.testing.assert_allclose(
            run.params_at(step)["x"], lowest + (start - lowest) * 0.75**step, rtol=1e-14
        )
    with pytest.raises(ConfigError, match=r"no parameters of step 4 are kept, only those of 0, 3, 10, 12"):
        run.params_at(4)


@pytest.mark.parametrize("step", [1, 9, 10])
def test_an_interruption_keeps_them_once(step, tmp_path):
    whole = optrun.run(RUN, directory=tmp_path / "whole")
    stops = iter(range(24))
    config = from_mapping(RUN)
    with Store.create(
        tmp_path, "x", directory=tmp_path / "cut", config_yaml=config.to_yaml(), runs=[(config.to_dict(), 0)]
    ) as store:
        Trainer(Pack([config]), store, interrupted=lambda: next(stops) == step).run()
        assert store.snapshot_steps() == [each for each in (0, 5, 9, 17) if each < step]
    resumed = optrun.resume(tmp_path / "cut")
    assert kept(resumed) == kept(whole)
    with Store.open(tmp_path / "whole") as one, Store.open(tmp_path / "cut") as other:
        assert one.results_digest() == other.results_digest()


def test_the_steps_of_a_killed_run_are_committed_with_its_checkpoint(tmp_path):
    """What a process leaves that dies between two commits: the parameters of the rows before the checkpoint."""
    config = from_mapping(RUN)

    class Killed(BaseException):
        pass

    class Dies:
        resumable, commits = True, 0

        def commit(self, **results):
            self.commits += 1
            if self.commits == 3:
                raise Killed
            store.commit(**results)

    with Store.create(
        tmp_path, "x", directory=tmp_path / "cut", config_yaml=config.to_yaml(), runs=[(config.to_dict(), 0)]
    ) as store:
        with pytest.raises(Killed):
            Trainer(Pack([config]), Dies()).run()
        assert store.checkpoint().meta["step"] == 10
        assert store.snapshot_steps() == [0, 5, 9]
    assert kept(optrun.resume(tmp_path / "cut")) == kept(optrun.run(RUN, save=False))


def test_a_prolonged_run_has_those_of_a_longer_one(tmp_path):
    record = {"params": [0, 24, 30]}
    optrun.run({**RUN, "record": record}, directory=tmp_path / "run")
    longer = optrun.resume(tmp_path / "run", steps=36)
    whole = optrun.run({**RUN, "steps": 36, "record": record}, save=False)
    assert kept(longer, (0, 24, 30, 36)) == kept(whole, (0, 24, 30, 36))


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("method", ["grid", "halving"])
def test_runs_of_a_sweep_keep_those_of_the_run_alone(method, jobs, tmp_path):
    sweep = {"parameters": {"optimizer.lr": [0.01, 0.1]}, "repeats": 2, "metric": {"name": "train_loss"}}
    if method == "halving":
        sweep |= {"method": "halving", "halving": {"min_steps": 9, "factor": 2}}
    swept = {**RUN, "evaluate": {"every": 3}, "sweep": sweep}
    ended = 0
    for run in optrun.sweep(swept, directory=tmp_path / "sweep", jobs=jobs).runs:
        alone = optrun.run(run.config, save=False)
        steps = [0, 5] if run.status == "pruned" else [0, 5, 9, 17]
        assert kept(run, steps) == kept(alone, steps)
        ended += run.status == "completed"
    assert ended == (4 if method == "grid" else 2)
    assert faults(tmp_path / "sweep") == (4, [])


def test_lanes_that_end_early_keep_none_after_their_end():
    swept = {
        **PARABOLA,
        "record": {"params": [0, 2, 8]},
        "stop": {"divergence": 1e6},
        "sweep": {"parameters": {"optimizer.lr": [0.25, 100.0]}},
    }
    calm, wild = optrun.sweep(swept, save=False).runs
    assert [len(calm.params_at(step)["x"]) for step in (0, 2, 8)] == [1, 1, 1]
    assert abs(wild.params_at(2)["x"]) > 1000
    with pytest.raises(ConfigError, match="no parameters of step 8"):
        wild.params_at(8)


def test_many_of_them_are_committed_on_the_way(monkeypatch):
    commits = []
    monkeypatch.setattr(snapshots, "BUFFER_BYTES", 16)

    class Sink:
        resumable = False

        def commit(self, **results):
            commits.append([*results["snapshots"].get(0, {})])

    config = from_mapping({**PARABOLA, "record": {"params": [0, 1, 2, 3, 4]}})
    Trainer(Pack([config]), Sink()).run()
    assert commits == [[0, 1], [2, 3], [4]]


def test_too_many_numbers_are_refused_before_the_run():
    config = {
        **RUN,
        "problem": {"name": "quadratic", "dim": 1 << 20},
        "record": {"params": [*range(1000)]},
        "steps": 257,
    }
    with pytest.raises(
        ConfigError, match=r"1,048,576 parameters at 257 steps are 1\.0 GiB, .* at most 1 GiB"
    ):
        Pack([from_mapping(config)], at_start=False)
    assert Pack([from_mapping({**config, "steps": 256})], at_start=False).snapshot_bytes == 1 << 30


def test_steps_after_the_end_are_pointed_out():
    config = from_mapping({**RUN, "record": {"params": [0, 24, 25]}})
    notes = [each for each in ineffective_options(Pack([config])) if "record" in each]
    assert notes == ["note: record.params.2: 25 is never reached in the run's 24 steps"]


def test_steps_are_sorted_and_left_out_by_default():
    assert from_mapping({**RUN, "record": {"params": [9, 0]}}).record.params == [0, 9]
    assert "params" not in from_mapping({**RUN, "record": {}}).to_dict()["record"]


def test_a_lost_parameter_is_noticed(tmp_path):
    optrun.run(RUN, directory=tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / RESULTS)) as db, db:
        db.execute("DELETE FROM curves WHERE kind = 'params' AND first_step = 9 AND column_index = 3")
    size, found = faults(tmp_path / "run")
    assert (size, found) == (
        1,
        ["parameters of run 0 at step 9 are damaged: they are others than at step 0"],
    )
    with closing(sqlite3.connect(tmp_path / "run" / RESULTS)) as db, db:
        db.execute("DELETE FROM curves WHERE kind = 'params' AND first_step = 9 AND column_index = 0")
    with pytest.raises(StoreError, match="parameters of run 0 at step 9 are damaged: some are lost"):
        optrun.load_run(tmp_path / "run").params_at(9)


def test_average_and_dtype_are_as_in_the_run(tmp_path):
    run = optrun.run({**RUN, "average": {"name": "ema"}}, directory=tmp_path / "run")
    assert {values.dtype for values in run.params_at(5).values()} == {np.dtype("float32")}
    assert [*run.params_at(5)] == [*run.params]


def test_steps_at_equal_distances_are_those_of_their_list():
    kept = {
        str(params): optrun.run({**PARABOLA, "steps": 20, "record": {"params": params}}, save=False)
        for params in ({"every": 7}, [0, 7, 14])
    }
    every, listed = kept.values()
    for step in (0, 7, 14):
        np.testing.assert_array_equal(every.params_at(step)["x"], listed.params_at(step)["x"])
    with pytest.raises(ConfigError, match="only those of 0, 7, 14, 20:"):
        every.params_at(1)
    with pytest.raises(ConfigError, match="at 10,000 steps at most, not at 10,001"):
        optrun.run({**PARABOLA, "steps": 10_001, "record": {"params": {"every": 1}}}, save=False)
