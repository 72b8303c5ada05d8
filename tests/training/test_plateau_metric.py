"""ReduceLROnPlateau that observes a figure of the evaluations: torch on the same series, wherever a pack paused."""

import numpy as np
import pytest

import optrun
from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError
from optrun.store import Store
from optrun.sweeps.workers.task import Work
from optrun.training.config_notes import ineffective_options
from optrun.training.pack import Pack

PLATEAU = {"name": "ReduceLROnPlateau", "metric": "val_loss", "patience": 1, "factor": 0.5, "threshold": 0.01}
RUN = {
    "problem": {"name": "mlp", "data": "wine", "hidden": [8], "validation_fraction": 0.2},
    "optimizer": {"name": "SGD", "lr": 1.0},
    "scheduler": PLATEAU,
    "steps": 90,
    "dtype": "float64",
    "evaluate": {"every": 4},
}
CASES = [
    {},
    {"cooldown": 2, "threshold_mode": "abs", "min_lr": 0.01},
    {"metric": "val_accuracy", "mode": "max", "patience": 2},
    {"metric": "loss", "patience": 0, "threshold": 0.2},
    {"metric": "average_val_loss", "threshold": 0.2},
]


def rates_of_torch(run, options):
    """Return the lr of each update by torch, whose schedule steps before the update that follows an evaluation."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    named = {key: value for key, value in options.items() if key not in ("name", "metric")}
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **named)
    observed = dict(
        zip(run.evaluations["step"].tolist(), run.evaluations[options["metric"]].tolist(), strict=True)
    )
    rates = []
    for step in range(run.steps):
        if not np.isnan(observed.get(step, np.nan)):  # an average that does not exist yet is NaN
            scheduler.step(observed[step])
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_rates_are_those_of_torch_on_the_evaluations_of_the_run(changes):
    options = {**PLATEAU, **changes}
    run = optrun.run({**RUN, "scheduler": options, "average": {"name": "swa", "start": 30}}, save=False)
    rates = rates_of_torch(run, options)
    assert len(set(rates)) > 2
    assert run.curves["lr"].tolist() == pytest.approx(rates, rel=1e-14)


def test_an_update_uses_the_rate_of_its_row():
    """Two runs with the same rates have the same losses: one by the schedule, one by a table of its rates."""
    run = optrun.run(RUN, save=False)
    changes = np.flatnonzero(np.diff(run.curves["lr"])) + 1
    stages = [
        {"name": "ConstantLR", "factor": float(run.curves["lr"][at]), "total_iters": 999}
        for at in (0, *changes)
    ]
    sequence = {"name": "SequentialLR", "schedulers": stages, "milestones": changes.tolist()}
    other = optrun.run({**RUN, "scheduler": sequence}, save=False)
    assert other.curves["lr"].tolist() == run.curves["lr"].tolist()
    assert other.curves["loss"].tobytes() == run.curves["loss"].tobytes()


@pytest.mark.full
@pytest.mark.parametrize(
    "scheduler",
    [
        PLATEAU,
        {
            "name": "SequentialLR",
            "schedulers": [{"name": "LinearLR", "start_factor": 0.1, "total_iters": 20}, PLATEAU],
            "milestones": [20],
        },
    ],
    ids=["alone", "in a sequence"],
)
def test_a_lane_is_the_same_alone_in_a_pack_and_after_every_pause(scheduler):
    rates = [0.03, 0.3, 1.0, 2.0]
    configs = [
        from_mapping({**RUN, "optimizer": {"name": "SGD", "lr": lr}, "scheduler": scheduler}) for lr in rates
    ]
    together = Work(configs).execute(lambda: False)
    assert len({result.curves["lr"].tobytes() for result in together}) == len(rates)
    assert any(len(set(result.curves["lr"][20:])) > 2 for result in together)
    for config, result in zip(configs, together, strict=True):
        (alone,) = Work([config]).execute(lambda: False)
        pieces, checkpoints = [], None
        for until in (4, 5, 31, 32, None):  # at an evaluation, after one, before one
            (piece,) = Work([config], until=until, checkpoints=checkpoints).execute(lambda: False)
            checkpoints = [piece.checkpoint]
            pieces.append(piece)
        for name, values in result.curves.items():
            assert alone.curves[name].tobytes() == values.tobytes()
            assert np.concatenate([piece.curves[name] for piece in pieces]).tobytes() == values.tobytes()
        for name, values in result.params.items():
            assert alone.params[name].tobytes() == pieces[-1].params[name].tobytes() == values.tobytes()


def test_it_goes_on_after_an_interruption_as_if_there_had_been_none(tmp_path):
    whole = optrun.run(RUN, save=False)

    def end(now):
        if now.step >= 30:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        optrun.run({**RUN, "checkpoint": {"every": 10}}, directory=tmp_path / "run", observe=end)
    with Store.open(tmp_path / "run") as store:
        assert 30 <= store.run(0).steps < RUN["steps"]
    run = optrun.resume(tmp_path / "run")
    assert run.curves["lr"].tobytes() == whole.curves["lr"].tobytes()
    assert run.curves["loss"].tobytes() == whole.curves["loss"].tobytes()


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"scheduler": {**PLATEAU, "metric": "val_los"}}, "scheduler.metric", "Did you mean 'val_loss'"),
        ({"problem": "rosenbrock"}, "scheduler.metric", "rosenbrock has no figure 'val_loss'"),
        ({"evaluate": None}, "scheduler.metric", "ReduceLROnPlateau observes val_loss at .* set evaluate.every"),
        ({"scheduler": {**PLATEAU, "interval": "epoch"}}, "scheduler.interval", "leave interval out"),
        (
            {"schedules": {"momentum": {"name": "ChainedScheduler", "schedulers": [PLATEAU]}}, "scheduler": None,
             "evaluate": None},
            "schedules.momentum.schedulers.0.metric",
            "set evaluate.every",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_observe_is_refused_at_its_place(changes, field, said):
    with pytest.raises((ConfigError, ConfigErrors), match=said) as found:
        optrun.run({**RUN, **changes}, save=False)
    assert field in (getattr(found.value, "field", ""), str(found.value).split(": ")[1])


def test_the_lowest_accuracy_taken_for_the_best_is_noted():
    def notes(**options):
        config = from_mapping({**RUN, "scheduler": {**PLATEAU, **options}})
        return [note for note in ineffective_options(Pack([config])) if "mode" in note]

    assert notes(metric="val_accuracy") == [
        "note: scheduler.mode: min takes the lowest val_accuracy for the best: give mode: max"
    ]
    assert notes(metric="val_loss", mode="max") == [
        "note: scheduler.mode: max takes the highest val_loss for the best: give mode: min"
    ]
    assert notes(metric="val_accuracy", mode="max") == notes(metric="val_loss") == []
