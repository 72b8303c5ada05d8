"""`stop.restore_best`: a run ends with the parameters and the figures of its best evaluation."""

import numpy as np
import pytest

import optrun
from optrun.config import ConfigErrors, from_mapping
from optrun.config.model.run import Stop
from optrun.errors import ConfigError
from optrun.store import Store
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.stopping import Stopping
from optrun.training.trainer import Trainer

RUN = {
    "name": "x",
    "problem": {"name": "mlp", "data": "wine", "hidden": [8], "validation_fraction": 0.2},
    "optimizer": {"name": "Adam", "lr": 0.1},
    "steps": 60,
    "dtype": "float64",
    "evaluate": {"every": 4, "metrics": ["log_loss"]},
    "checkpoint": None,
}
RESTORE = {"metric": "val_log_loss", "restore_best": True}


def best_of(run, name="val_log_loss"):
    """Return the step of the first lowest value."""
    return int(run.evaluations["step"][np.argmin(run.evaluations[name])])


@pytest.mark.parametrize("stop", [RESTORE, {**RESTORE, "patience": 12}], ids=["whole", "early"])
@pytest.mark.parametrize("average", [None, {"name": "swa", "start": 6}])
def test_it_ends_with_the_parameters_and_figures_of_the_best_step(stop, average):
    plain = {name: value for name, value in stop.items() if name == "patience"}
    plain |= {"metric": "val_log_loss"} if plain else {}
    kept = {"record": {"params": list(range(0, 60, 4))}}
    whole = optrun.run({**RUN, **kept, "average": average, "stop": plain}, save=False)
    run = optrun.run({**RUN, "average": average, "stop": stop}, save=False)
    at = best_of(whole)
    assert 0 < at < whole.steps
    assert (run.status, run.steps) == (whole.status, whole.steps)
    assert run.reason == f"{whole.reason}; restored to step {at}".removeprefix("; ")
    for name, values in whole.params_at(at).items():
        assert run.params[name].tobytes() == run.params_at(at)[name].tobytes() == values.tobytes()
    with pytest.raises(ConfigError, match=f"only those of {at}"):
        run.params_at(run.steps)
    (row,) = np.flatnonzero(whole.evaluations["step"] == at)
    for name, values in whole.evaluations.items():
        assert run.evaluations[name].tobytes() == values.tobytes()  # what was measured at the end stays
        if name not in ("step", "loss"):
            value = run.summary.get(name)
            assert value == values[row] or (value is None and np.isnan(values[row])), name
    assert run.summary["final_loss"] == whole.evaluations["loss"][row]


def test_the_first_of_equal_evaluations_is_the_best():
    stop = {"metric": "val_accuracy", "restore_best": True}
    run = optrun.run({**RUN, "optimizer": {"name": "Adam", "lr": 0.03}, "stop": stop}, save=False)
    values = run.evaluations["val_accuracy"]
    assert (values == values.max()).sum() > 1
    assert run.reason == f"restored to step {run.evaluations['step'][values.argmax()]}"


def test_the_end_counts_as_an_evaluation():
    stop = {"metric": "train_loss", "restore_best": True}
    config = {**RUN, "steps": 9, "optimizer": {"name": "Adam", "lr": 1e-3}}
    run = optrun.run({**config, "stop": stop}, save=False)
    assert (run.reason, run.summary) == ("", optrun.run(config, save=False).summary)


def test_a_run_that_reaches_its_target_ends_at_its_best():
    run = optrun.run({**RUN, "stop": {**RESTORE, "target": 0.5}}, save=False)
    assert str(run.status) == "target_reached"
    assert run.steps == best_of(run)
    assert "restored" not in run.reason


def test_a_run_that_diverges_keeps_its_end():
    config = {**RUN, "optimizer": {"name": "SGD", "lr": 1e4}, "stop": RESTORE}
    run = optrun.run(config, save=False)
    assert str(run.status) == "diverged"
    assert "restored" not in run.reason


@pytest.mark.full
@pytest.mark.parametrize(("patience", "checkpoint"), [(None, {"every": 6}), (6, None), (6, {"every": 6})])
def test_a_lane_ends_as_alone_wherever_its_pack_has_paused(patience, checkpoint, tmp_path):
    data = {
        **RUN,
        "problem": {**RUN["problem"], "batch_size": 8},
        "evaluate": {**RUN["evaluate"], "every": 2},
        "average": {"name": "swa", "start": 10},
        "stop": {**RESTORE, "patience": patience},
        "checkpoint": checkpoint,
        "sweep": {"parameters": {"optimizer.lr": [1e-3, 1e-2, 3e-2, 1e-1]}, "repeats": 2},
    }
    sweep = optrun.sweep(data, directory=tmp_path / "sweep")
    ends = {run.steps for run in sweep.runs}
    assert len({run.reason for run in sweep.runs}) > 2
    assert len(ends) > 2 if patience else ends == {60}
    for run in sweep.runs:
        alone = optrun.run({**run.config, "checkpoint": None}, save=False)
        assert (run.reason, run.summary) == (alone.reason, alone.summary)
        for name, values in alone.params.items():
            assert run.params[name].tobytes() == values.tobytes()


@pytest.mark.parametrize("end", ["patience", "target"])
def test_a_lane_that_has_ended_keeps_its_best_while_its_pack_goes_on(end):
    stop = Stop(metric="val_loss", restore_best=True, **{end: 2})
    stopping = Stopping(stop, 2)
    falling = np.array([9.0, 8.0, 7.0, 6.0, 5.0])
    ending = {"patience": [4.0, 5.0, 6.0, 1.0, 0.0], "target": [4.0, 3.0, 2.0, 1.0, 0.0]}[end]
    for t, values in enumerate(zip(ending, falling, strict=True)):
        ended = [lane for lane, *_ in stopping.check_figures(t, {"val_loss": np.array(values)})]
        stopping.end(ended)
        assert ended == ([0] if t == 2 else [])
        assert stopping.improved.tolist() == [t == 0 or (end == "target" and t <= 2), True]
    # The end at which the target is reached is itself the best: nothing is restored.
    assert stopping.best_step(0, {"val_loss": ending[2]}, 2) == (0 if end == "patience" else None)


def test_a_lane_that_is_left_of_its_pack_keeps_the_best_that_it_had_before():
    data = {**RUN, "stop": {**RESTORE, "patience": 16}}
    configs = [from_mapping({**data, "optimizer": {"name": "Adam", "lr": lr}}) for lr in (0.03, 0.05)]
    memory = MemoryStore(configs)
    Trainer(Pack(configs), memory).run()
    left, other = (memory.state(run) for run in range(2))
    alone = optrun.run(configs[0].to_dict(), save=False)
    assert other.steps < left.steps
    assert best_of(alone) < other.steps
    assert (left.reason, left.summary) == (alone.reason, alone.summary)


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(tmp_path):
    config = {**RUN, "average": "ema", "stop": RESTORE, "checkpoint": {"every": 7}}
    whole = optrun.run(config, save=False)
    at = best_of(whole)

    def kill(progress):
        if progress.step > at + 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optrun.run(config, directory=tmp_path / "run", observe=kill)
    run = optrun.resume(tmp_path / "run")
    assert (run.status, run.reason, run.summary) == (whole.status, whole.reason, whole.summary)
    for name, values in whole.params.items():
        assert run.params[name].tobytes() == values.tobytes()


@pytest.mark.full
def test_a_longer_run_goes_on_from_the_end_and_not_from_the_best(tmp_path):
    config = {**RUN, "stop": RESTORE, "checkpoint": {"every": 7}}
    optrun.run(config, directory=tmp_path / "run")
    longer = optrun.resume(tmp_path / "run", steps=80)
    whole = optrun.run({**config, "steps": 80}, save=False)
    assert (longer.reason, longer.summary) == (whole.reason, whole.summary)
    with Store.open(tmp_path / "run") as store:
        assert store.params(0).keys() == whole.params.keys()


def test_it_needs_a_metric():
    with pytest.raises(ConfigErrors, match="stop.restore_best: by which figure"):
        from_mapping({**RUN, "stop": {"restore_best": True}})
