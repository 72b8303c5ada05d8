"""Whole runs with `backend: cupy`, on a stand-in for the device: the results are those of the CPU."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.arrays import chunk_length
from optrun.config import RunConfig
from optrun.errors import OptrunWarning, RunFailedError
from optrun.problems.vectors import VectorProblem
from optrun.registry import optimizers
from optrun.store import Store
from optrun.training import recorder
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.gpu import stand_in
from tests.optim.samples import in_turn
from tests.oracles.rules import takes_vectors
from tests.problems.cases import CASES, case_id

RIDGE = {"name": "linear_regression", "data": "diabetes", "batch_size": 50, "l2": 0.01}


def config(**changes):
    values = {
        "name": "run",
        "problem": "rosenbrock",
        "optimizer": {"name": "Adam", "lr": 0.05},
        "steps": 150,
        "checkpoint": None,
        **changes,
    }
    return RunConfig.model_validate(values)


def results(configs):
    """Run the lanes of a pack and return all that is kept of each."""
    memory = MemoryStore(configs)
    Trainer(Pack(configs), memory).run()
    return [kept(memory, lane) for lane in range(len(configs))]


def kept(memory, lane):
    segments = {"curve": memory.curves, "evaluation": memory.evaluations, "final": memory.params}
    return {"state": asdict(memory.state(lane)) | {"seconds": None}} | {
        f"{kind} {name}": np.ascontiguousarray(values).tobytes()
        for kind, of in segments.items()
        for name, values in of(lane).items()
    }


class Kept(MemoryStore):
    """Asks for checkpoints."""

    resumable = True


def both(lanes):
    """Return the results of the CPU and of the device, given the changes of every lane."""
    return [results([config(backend=backend, **each) for each in lanes]) for backend in ("numpy", "cupy")]


def of_rates(rates, **changes):
    return [{"optimizer": {"name": "SGD", "lr": rate}, **changes} for rate in rates]


@pytest.mark.full
@pytest.mark.parametrize(("name", "dtype"), in_turn(zip(optimizers), ("float32", "float64")))
def test_every_optimizer_gives_the_results_of_the_cpu(name, dtype, transfers):
    problem = RIDGE if takes_vectors(name) else {**RIDGE, "bias": False}
    lanes = [{"optimizer": {"name": name, "lr": lr}, "problem": problem} for lr in (0.01, 0.1)]
    if not optimizers.find(name).batched:
        lanes = lanes[:1]
    expected, found = both([{**each, "dtype": dtype, "steps": 40} for each in lanes])
    assert found == expected


@pytest.mark.full
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_problem_gives_the_results_of_the_cpu(case, transfers):
    name, options = case
    problem = {"name": name, **options}
    expected, found = both(of_rates([1e-4, 1e-3, 1e-2], problem=problem, steps=30, evaluate={"every": 7}))
    assert found == expected


RATES = [1e-4, 3e-4, 1e-3, 2e-3, 2.5e-3, 3e-3, 5e-3, 1e-2]

ENDS = {
    "diverged": {},
    "too high": {"stop": {"divergence": 25.0}},
    "target": {"stop": {"target": 1.0}},
    "patience": {"stop": {"patience": 9}},
    "all of them": {"stop": {"target": 0.5, "divergence": 30.0, "patience": 40}},
    "an average": {"average": {"name": "SWA", "start": 20}, "stop": {"target": 1.0}},
    "norms": {"record": {"metrics": ["grad_norm", "update_norm", "param_norm"]}, "stop": {"target": 1.0}},
    "thin rows": {"record": {"every": 5}, "stop": {"target": 1.0}},
    "evaluations": {"evaluate": {"every": 10}, "stop": {"divergence": 30.0}},
    "a schedule": {"scheduler": {"name": "CosineAnnealingLR", "T_max": 150}, "stop": {"patience": 30}},
    "plateau": {"scheduler": {"name": "ReduceLROnPlateau", "patience": 3}, "stop": {"target": 1.0}},
    "after lanes are fewer": {
        "scheduler": {"name": "MultiStepLR", "milestones": [120], "gamma": 30.0},
        "stop": {"divergence": {"factor": 100.0}},
    },
}


@pytest.mark.full
@pytest.mark.parametrize(("end", "dtype"), in_turn(zip(ENDS), ("float32", "float64")))
def test_a_lane_that_ends_between_two_looks_has_the_results_of_the_cpu(end, dtype, transfers, step_by_step):
    changes = ENDS[end]
    expected, found = both(of_rates(RATES, dtype=dtype, steps=150, **changes))
    is_replayed = "metrics" not in changes.get("record", {}) and "patience" not in changes.get(
        "scheduler", {}
    )
    assert (stand_in.launched["graph"] > 100) == is_replayed
    assert len({lane["state"]["steps"] for lane in expected}) > 1
    assert found == expected


def test_more_steps_than_a_table_and_the_recorder_hold_give_the_results_of_the_cpu(transfers, monkeypatch):
    monkeypatch.setattr(recorder, "BYTES", 0)
    changes = {"average": {"name": "EMA"}, "scheduler": {"name": "CosineAnnealingLR", "T_max": 600}}
    changes |= {"steps": 600, "record": {"metrics": ["param_norm"]}, "evaluate": {"every": 250}}
    lanes = [{"optimizer": {"name": "Adam", "lr": lr, "beta1": lr * 10}, **changes} for lr in (0.01, 0.05)]
    expected, found = both(lanes)
    assert found == expected


@pytest.mark.full
@pytest.mark.parametrize("captures", [True, False])
@pytest.mark.parametrize("problem", ["rosenbrock", {"name": "mlp", "batch_size": 100}], ids=str)
def test_nothing_goes_over_within_the_steps_between_two_looks(problem, captures, transfers, monkeypatch):
    monkeypatch.setattr(stand_in.settings, "captures", captures)
    changes = {
        "problem": problem,
        "average": {"name": "EMA"},
        "scheduler": {"name": "CosineAnnealingLR", "T_max": 300},
        "steps": 300,
    }
    lanes = [config(backend="cupy", seed=seed, **changes) for seed in range(3)]
    pack = Pack(lanes)
    to_host, uploads, before = [], set(), transfers["to device"]
    for t, _ in pack.iterate(0):
        to_host.append(transfers["to host"])
        if transfers["to device"] > before:
            uploads.add(t)
        before = transfers["to device"]
    # Coefficients go over once for a chunk of steps, samples once for an epoch, and what a batch of another size
    # needs once for all.
    epoch = pack.problem.steps_per_epoch
    epochs = {epoch - 1, *range(0, 300, epoch)} if epoch > 1 else set()
    assert uploads <= {0, 1, 1 + chunk_length(3)} | epochs
    assert set(to_host) == {to_host[0]}
    assert (stand_in.launched["graph"] > 200) == captures


@pytest.mark.parametrize("lane_fast", [True, False])
def test_a_function_of_few_elements_is_one_kernel(lane_fast, transfers, monkeypatch):
    monkeypatch.setattr(stand_in.settings, "captures", False)
    monkeypatch.setattr(VectorProblem, "lane_fast", lane_fast)
    expected, found = ([], [])
    for backend, losses in (("numpy", expected), ("cupy", found)):
        lanes = Pack([config(backend=backend, seed=seed, problem="helical_valley") for seed in range(3)])
        losses += [lanes.arrays.to_host(loss).tobytes() for _, loss in lanes.iterate(0, 20)]
    assert found == expected
    assert stand_in.launched["step"] == 2 * 20  # that of the function, and that of the rule


@pytest.mark.full
@pytest.mark.parametrize(("end", "dtype"), in_turn(zip(ENDS), ("float64", "float32")))
def test_a_lane_that_ends_in_a_trajectory_has_the_results_of_the_cpu(end, dtype, transfers):
    expected, found = both(of_rates(RATES, dtype=dtype, steps=150, **ENDS[end]))
    assert found == expected
    leaps = end in ("diverged", "too high", "target", "thin rows", "evaluations", "after lanes are fewer")
    assert bool(stand_in.launched["trajectory"]) == leaps


def test_batches_that_are_no_arrays_are_not_replayed_but_run(transfers):
    lanes = Pack([config(backend="cupy", steps=20)])
    expected = [lanes.arrays.to_host(loss).tolist() for _, loss in lanes.iterate(0)]
    lanes = Pack([config(backend="cupy", steps=20)])
    computed = lanes.problem.loss_and_grad
    lanes.problem.loss_and_grad = lambda params, grads, batch: computed(params, grads, None)
    lanes.batches = [("a", "pair")] * 20
    stand_in.launched.clear()
    assert [lanes.arrays.to_host(loss).tolist() for _, loss in lanes.iterate(0)] == expected
    assert not stand_in.launched["graph"]


@pytest.mark.full
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(transfers):
    changes = {"problem": {"name": "mlp", "batch_size": 300}, "average": {"name": "EMA"}, "steps": 140}
    changes |= {"record": {"metrics": ["update_norm"]}, "optimizer": {"name": "Adam", "lr": 0.01}}
    configs = [config(backend="cupy", seed=seed, checkpoint={"every": 50}, **changes) for seed in range(3)]
    (whole, *_), parts = results(configs[:1]), Kept(configs[:1])
    asked = []

    def interrupted():
        asked.append(1)
        return len(asked) == 2

    Trainer(Pack(configs[:1]), parts, interrupted=interrupted).run()
    assert parts.state(0).status == "interrupted"
    resumed = Trainer(Pack(configs[:1]), parts)
    resumed.resume([parts.checkpoint(0)])
    resumed.run()
    assert kept(parts, 0) == whole
    # Lanes beside it change nothing.
    assert results(configs)[0] == whole


def test_a_device_that_fails_fails_the_run_and_what_was_recorded_is_kept(
    transfers, step_by_step, monkeypatch
):
    configs = [config(backend="cupy", optimizer={"name": "SGD", "lr": lr}) for lr in (1e-4, 1e-2)]
    pack, memory = Pack(configs), MemoryStore(configs)
    computed, calls = pack.problem.loss_and_grad, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 30:
            raise stand_in.CUDARuntimeError("the device is gone")
        return computed(*args)

    monkeypatch.setattr(pack.problem, "loss_and_grad", failing)
    monkeypatch.setattr(stand_in.settings, "captures", False)
    with pytest.raises(RunFailedError, match="the device is gone"):
        Trainer(pack, memory).run()
    assert memory.state(0).status == "failed"
    assert memory.curves(0)["step"].tolist() == [*range(29)]
    # The other had diverged before, which nobody had looked at.
    assert memory.state(1).steps == memory.curves(1)["step"][-1] < 9


def test_another_device_is_noted_where_bits_may_differ(transfers):
    class Stop(Exception):
        pass

    def stop(now):
        raise Stop

    for backend in ("numpy", "cupy"):
        with pytest.raises(Stop):
            optrun.run(config(backend=backend), directory=backend, observe=stop)
    sys.modules["cupy"].cuda.runtime.getDeviceProperties = lambda _: {"name": b"another"}
    said = "the last bits of results may differ from now on: gpu another, was NumPy"
    with pytest.warns(OptrunWarning, match=said):
        optrun.resume("cupy")
    optrun.resume("numpy")
    with Store.open(Path("cupy")) as gpu, Store.open(Path("numpy")) as cpu:
        assert [(each["gpu"], each["cuda"]) for each in gpu.environments()] == [
            ("NumPy", 12040),
            ("another", 12040),
        ]
        assert not any("cupy" in each for each in cpu.environments())
