"""Runs that end by a figure of their evaluations, against the plain reading of a run that goes on."""

import math

import pytest

import optrun
from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError

PROBLEM = {"name": "mlp", "data": "wine", "hidden": [8], "validation_fraction": 0.2}
RUN = {
    "problem": PROBLEM,
    "optimizer": {"name": "Adam", "lr": 0.03},
    "steps": 120,
    "dtype": "float64",
    "evaluate": {"every": 4},
}
STOPS = [
    {"metric": "val_loss", "patience": 12},
    {"metric": "val_loss", "patience": 10},  # no multiple of the interval
    {"metric": "val_loss", "target": 0.2},
    {"metric": "val_accuracy", "patience": 16},
    {"metric": "val_accuracy", "target": 0.9},
    {"metric": "train_loss", "target": 0.5, "patience": 8},
    {"metric": "loss", "target": 1e-9},
]


def expected(whole, stop):
    """Return the status, the last step and the reason of a run, read from the evaluations of one that goes on."""
    name, target, patience = stop["metric"], stop.get("target"), stop.get("patience")
    sign, beyond = (-1, "above") if name.endswith("accuracy") else (1, "below")
    best, best_at = math.inf, 0
    for step, value in zip(whole.evaluations["step"], whole.evaluations[name], strict=True):
        if math.isnan(value):  # the average does not exist yet
            continue
        if target is not None and sign * value <= sign * target:
            at = f"at step {step}" if step < whole.steps else "after the last step"
            return "target_reached", step, f"{name} is {value:g} {at}"
        if step == whole.steps:
            break
        if sign * value < best:
            best, best_at = sign * value, step
        if patience is not None and step - best_at >= patience:
            reason = f"no {name} {beyond} {sign * best:g} at step {best_at} for {patience} steps"
            return "early_stopped", step, reason
    return "completed", whole.steps, ""


@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_a_run_ends_at_the_evaluation_that_decides(stop):
    whole = optrun.run(RUN, save=False)
    run = optrun.run({**RUN, "stop": stop}, save=False)
    assert (str(run.status), run.steps, run.reason) == expected(whole, stop)
    for name, values in run.evaluations.items():
        assert values.tolist() == whole.evaluations[name][: len(values)].tolist()
    assert run.evaluations["step"][-1] == run.steps
    assert run.curves["loss"].tolist() == whole.curves["loss"][: len(run.curves["loss"])].tolist()
    assert run.summary["val_loss"] == run.evaluations["val_loss"][-1]


def test_the_cases_are_of_all_kinds():
    whole = optrun.run(RUN, save=False)
    assert {expected(whole, stop)[0] for stop in STOPS} == {"target_reached", "early_stopped", "completed"}


@pytest.mark.full
@pytest.mark.parametrize("stop", STOPS[:5], ids=str)
def test_every_lane_ends_as_it_does_alone_wherever_its_pack_has_paused(stop, tmp_path):
    data = {
        **RUN,
        "stop": stop,
        "checkpoint": {"every": 6},
        "sweep": {"parameters": {"optimizer.lr": [1e-3, 1e-2, 3e-2, 1e-1]}, "repeats": 2},
    }
    sweep = optrun.sweep(data, directory=tmp_path / "sweep")
    assert len({run.steps for run in sweep.runs}) > 2
    for run in sweep.runs:
        alone = optrun.run({**run.config, "checkpoint": None}, save=False)
        assert (run.status, run.steps, run.reason, run.summary) == (
            alone.status,
            alone.steps,
            alone.reason,
            alone.summary,
        )
        for name, values in alone.params.items():
            assert run.params[name].tobytes() == values.tobytes()


@pytest.mark.parametrize("patience", [4, 20])
def test_no_patience_runs_out_before_an_average_begins(patience):
    stop = {"metric": "average_val_loss", "patience": patience}
    config = {**RUN, "optimizer": {"name": "Adam", "lr": 0.3}, "average": {"name": "swa", "start": 30}}
    whole = optrun.run(config, save=False)
    run = optrun.run({**config, "stop": stop}, save=False)
    assert 30 < run.steps < whole.steps
    assert (str(run.status), run.steps, run.reason) == expected(whole, stop)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stop": {"metric": "val_loss"}},
            "stop.metric: nothing observes it: give stop.patience or stop.target",
        ),
        ({"evaluate": None}, "stop.metric: is evaluated at the end alone: give evaluate.every"),
        ({"evaluate": {}}, "stop.metric: is evaluated at the end alone: give evaluate.every"),
    ],
)
def test_a_metric_that_cannot_end_a_run_is_refused(changes, message):
    with pytest.raises(ConfigErrors, match=message):
        from_mapping({**RUN, "stop": {"metric": "val_loss", "patience": 8}, **changes})


@pytest.mark.parametrize(
    ("problem", "hint"),
    [
        ({**PROBLEM, "validation_fraction": 0}, "mlp has no figure 'val_loss'"),
        ("rosenbrock", "rosenbrock has no"),
    ],
)
def test_a_metric_that_is_not_measured_is_refused_before_the_run(problem, hint):
    config = {**RUN, "problem": problem, "stop": {"metric": "val_loss", "patience": 8}}
    with pytest.raises(ConfigError, match=hint) as caught:
        optrun.run(config, save=False)
    assert caught.value.field == "stop.metric"
    with pytest.raises(ConfigError, match=hint):
        optrun.sweep({**config, "sweep": {"parameters": {"optimizer.lr": [1e-3, 1e-2]}}}, save=False)
