"""`average:`: a running average of the parameters, evaluated beside them."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.config.shorten import smoke
from optrun.errors import ConfigError, StateError
from optrun.optim import SGD
from optrun.registry import averages, optimizers
from optrun.store import Checkpoint, Status, Store
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

STEPS = 40
EMA = {"name": "EMA", "decay": 0.8}


def mapping(**more):
    return {
        "name": "averaged",
        "problem": {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 32},
        "optimizer": {"name": "Adam", "lr": 0.02},
        "average": EMA,
        "steps": STEPS,
        "evaluate": {"every": 7},
        "dtype": "float64",
        **more,
    }


def run(**more):
    return optrun.run(mapping(**more), save=False)


def test_the_average_is_evaluated_beside_the_parameters_and_changes_nothing_about_them():
    averaged, plain = run(), run(average=None)
    names = ["loss", "train_accuracy", "train_loss", "test_accuracy", "test_loss"]
    assert list(averaged.evaluations) == ["step", *names, *(f"average_{name}" for name in names)]
    for name in ("step", *names):
        assert averaged.evaluations[name].tobytes() == plain.evaluations[name].tobytes()
    for name in plain.params:
        assert averaged.params[name].tobytes() == plain.params[name].tobytes()
    assert list(plain.average) == []
    figures = [name for name in averaged.summary if name.startswith("average_")]
    assert figures == [f"average_{name}" for name in names]
    for name in figures:
        assert averaged.evaluations[name][-1] == averaged.summary[name]


@pytest.mark.full
def test_a_figure_of_the_average_is_the_problem_at_the_average():
    """Against the average computed by hand from runs that end after each step."""
    done = run()
    points = [run(steps=k, evaluate=None).params for k in range(1, STEPS + 1)]
    by_hand = points[0]
    for point in points[1:]:
        by_hand = {name: 0.8 * by_hand[name] + 0.2 * point[name] for name in point}
    assert list(done.average) == list(done.params)
    for name, value in by_hand.items():
        np.testing.assert_allclose(done.average[name], value, rtol=1e-12)
    pack = Pack([from_mapping(mapping())])
    for name, value in done.average.items():
        pack.params[name][:] = value
    for name, value in pack.problem.evaluate(pack.params).items():
        assert done.summary[f"average_{name}"] == value[0]


def test_the_average_is_stored_beside_the_final_parameters(tmp_path):
    done = optrun.run(mapping(), directory=tmp_path / "run")
    again = optrun.load_run(tmp_path / "run")
    assert list(again.params) == list(again.average) == list(done.params)
    for name, value in run().average.items():
        assert done.average[name].tobytes() == again.average[name].tobytes() == value.tobytes()
    with Store.open(tmp_path / "run") as store:
        assert f"average/{name}" in store.params()


def test_before_the_first_update_there_is_no_average():
    done = run(average={**EMA, "start": 20})
    is_number = np.isfinite(done.evaluations["average_test_loss"])
    assert done.evaluations["step"][is_number].tolist() == [21, 28, 35, 40]
    early = run(average={**EMA, "start": 20}, stop={"target": 1e9})
    assert (early.status, early.steps) == (Status.TARGET_REACHED, 0)
    assert list(early.average) == []
    assert not [name for name in early.summary if name.startswith("average_")]
    with pytest.raises(ConfigError, match="averages nothing") as caught:
        run(average={**EMA, "start": STEPS + 1})
    assert caught.value.field == "average.start"


@pytest.mark.full
@pytest.mark.parametrize("average", [{"name": each, "start": 3, "every": 2} for each in averages], ids=str)
def test_interrupted_at_any_step_and_resumed_is_uninterrupted(average, tmp_path):
    chosen = from_mapping(mapping(average=average, checkpoint={"every": 5}))
    optrun.run(chosen, directory=tmp_path / "whole")
    for stop in (0, 1, 3, 4, 14, STEPS - 1):
        calls = iter(range(STEPS))
        with Store.create(
            Path(),
            "x",
            directory=tmp_path / f"stop-{stop}",
            config_yaml=chosen.to_yaml(),
            runs=[(chosen.to_dict(), chosen.seed)],
        ) as store:
            Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == stop).run()  # noqa: B023
        optrun.resume(tmp_path / f"stop-{stop}")
        with Store.open(tmp_path / "whole") as one, Store.open(tmp_path / f"stop-{stop}") as other:
            assert one.results_digest() == other.results_digest()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays, pack: arrays.pop("average/layer1.bias"),
        lambda arrays, pack: arrays.update({"average/layer1.bias": np.zeros(1)}),
        lambda arrays, pack: pack.update(average=None),
        lambda arrays, pack: [arrays.pop(name) for name in [*arrays] if name.startswith("average/")],
    ],
)
def test_a_damaged_checkpoint_is_refused(spoil, tmp_path):
    chosen = from_mapping(mapping())
    calls = iter(range(STEPS))
    with Store.create(
        tmp_path, "x", directory=tmp_path / "run", config_yaml="", runs=[(chosen.to_dict(), 0)]
    ) as store:
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 20).run()
        checkpoint = store.checkpoint()
        arrays, meta = dict(checkpoint.arrays), dict(checkpoint.meta)
        spoil(arrays, meta["pack"])
        with pytest.raises(StateError):
            Trainer(Pack([chosen]), store).resume([Checkpoint(arrays, meta)])


def results(configs):
    memory = MemoryStore(configs)
    Trainer(Pack(configs), memory).run()
    return [
        {
            "state": asdict(memory.run(lane)) | {"run": 0, "seconds": None},
            **{name: of.tobytes() for name, of in memory.evaluations(lane).items()},
            **{name: of.tobytes() for name, of in memory.params(lane).items()},
        }
        for lane in range(len(configs))
    ]


@pytest.mark.parametrize("problem", ["rosenbrock", "mlp"])
@pytest.mark.parametrize("name", list(averages))
def test_a_lane_is_its_solo_run_also_where_lanes_end_each_at_its_own_step(problem, name):
    options = {"problem": problem} if problem == "rosenbrock" else {}
    configs = [
        from_mapping(
            mapping(
                **options,
                optimizer={"name": "Adam", "lr": 0.01 * (1 + lane)},
                average={"name": name, "start": 3} | ({"decay": lane / 10} if name == "EMA" else {}),
                seed=lane,
                stop={"target": 0.8 if problem == "mlp" else 4.3},
            )
        )
        for lane in range(9)
    ]
    together = results(configs)
    assert len({each["state"]["steps"] for each in together}) > 2
    assert together == [results([each])[0] for each in configs]


def test_runs_of_a_pack_have_one_average_whose_decay_may_differ():
    first = from_mapping(mapping())
    for other in ("average=null", "average=SWA", "average.every=2", "average.start=1"):
        with pytest.raises(ConfigError):
            Pack([first, from_mapping(first.to_dict(), [other])])
    Pack([first, from_mapping(first.to_dict(), ["average.decay=0.5"])])


def test_an_average_that_the_optimizer_keeps_is_evaluated_too():
    class Keeping(SGD):
        """Calls its momentum an average, whose value a test can know."""

        average = "momentum_buffer"

    try:
        chosen = mapping(optimizer={"name": "Keeping", "lr": 0.1, "momentum": 0.9}, average=None)
        done = optrun.run(chosen, save=False)
        assert np.isnan(done.evaluations["average_loss"][0])
        pack = Pack([from_mapping(chosen)])
        for _ in pack.iterate(0):
            pass
        for name, entry in pack.optimizer.state.items():
            assert done.average[name].tobytes() == entry["momentum_buffer"][0].tobytes()
            pack.params[name][:] = entry["momentum_buffer"]
        for name, value in pack.problem.evaluate(pack.params).items():
            assert done.summary[f"average_{name}"] == done.evaluations[f"average_{name}"][-1] == value[0]
        # The config's own comes first.
        given = optrun.run({**chosen, "average": {"name": "EMA", "decay": 0.0}}, save=False)
        assert given.summary["average_loss"] == given.summary["final_loss"]
    finally:
        del optimizers._classes["keeping"], optimizers._names["keeping"]


def test_an_average_is_said_as_every_other_section():
    assert from_mapping(mapping(average="ema")).average.options == {"start": 0, "every": 1, "decay": 0.999}
    for wrong, said in (
        ({"average": "emma"}, "unknown average 'emma'. Did you mean 'ema'?"),
        ({"average": {"name": "EMA", "decya": 1}}, "average.decya: unknown key. Did you mean 'decay'?"),
        ({"average": {"name": "SWA", "decay": 1}}, "average.decay: unknown key"),
        ({"average": {"name": "EMA", "decay": 2}}, "average.decay: must be ≤ 1"),
        ({"averge": "EMA"}, "averge: unknown key. Did you mean 'average'?"),
    ):
        with pytest.raises(ConfigError) as caught:
            from_mapping({**mapping(average=None), **wrong})
        assert said in str(caught.value)


def test_smoke_cuts_the_start_and_the_interval_alike():
    chosen = from_mapping(mapping(steps=10_000, average={"name": "SWA", "start": 5000, "every": 200}))
    assert smoke(chosen, 10_000)[0].average.options == {"start": 50, "every": 2}
