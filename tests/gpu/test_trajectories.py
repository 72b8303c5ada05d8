"""Many steps in one kernel, run by a C compiler: the bits are those of single steps of the NumPy engine."""

import re

import numpy as np
import pytest

from optrun.config import from_mapping
from optrun.errors import RunFailedError
from optrun.kernels.cuda import engine
from optrun.optim import group_update
from optrun.training import trainer
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.gpu import stand_in
from tests.optim.samples import DTYPES, in_turn
from tests.pairs import few_in_short
from tests.training.test_leaps import (
    CARRIED,
    DIFFERING,
    FUNCTIONS,
    QUADRATIC,
    RULES,
    STEPS,
    TEXT,
    configs,
    differing,
    everything,
    run,
    set_in,
)


def on(backend, chosen):
    """Return configs for a backend; on the CPU NumPy makes every step by itself."""
    engine = "auto" if backend == "cupy" else "numpy"
    return [each.model_copy(update={"backend": backend, "engine": engine}) for each in chosen]


def both(chosen):
    """Return what NumPy makes, and what the device does."""
    return run(on("numpy", chosen)), run(on("cupy", chosen))


CASES = in_turn([(rule,) for rule in RULES], FUNCTIONS, DTYPES, (3, 1))


@pytest.mark.parametrize(("rule", "function", "dtype", "lanes"), few_in_short(CASES, 8))
def test_a_trajectory_has_the_bits_of_its_steps(rule, function, dtype, lanes, transfers):
    expected, found = both(
        configs(rule, lanes, problem={"name": function}, dtype=dtype, checkpoint={"every": 30})
    )
    assert found == expected
    assert 1 <= stand_in.launched["trajectory"] <= 3  # before and behind the checkpoint
    assert stand_in.launched["step"] < 10


ENDS = [
    {"stop": {"divergence": 1e4}, "record": {"every": 3}},
    {"stop": {"target": 5.0}, "evaluate": {"every": 9}},
    {"stop": {"divergence": {"factor": 100.0}}, "record": {"params": [5, 20], "metrics": ["momentum"]}},
]


@pytest.mark.parametrize(("more", "dtype"), in_turn(zip(ENDS), DTYPES))
def test_lanes_end_at_their_steps(more, dtype, transfers):
    of_lanes = [{"lr": 1e-3 * (1 + lane), "momentum": 0.9 * (lane % 2)} for lane in range(30)]
    (config,) = configs("SGD", 1, problem={"name": "quadratic", "dim": 2}, dtype=dtype, **more)
    chosen = [
        from_mapping({**config.to_dict(), "optimizer": {"name": "SGD", **options}}) for options in of_lanes
    ]
    expected, found = both(chosen)
    assert len({re.search(r"steps=\d+", state)[0] for state, _ in expected}) > 3
    assert found == expected
    assert stand_in.launched["trajectory"]


@pytest.mark.parametrize(
    ("problem", "name"),
    [(QUADRATIC, "start.0"), (QUADRATIC, "condition"), (TEXT, "start.y"), (TEXT, "parameters.a")],
)
def test_the_numbers_of_lanes_differ(problem, name, transfers):
    expected, found = both([configs(problem=set_in(problem, name, 2.0 + lane))[0] for lane in range(2)])
    assert found == expected
    assert stand_in.launched["trajectory"]


NUMBERS = in_turn(zip({**DIFFERING, **CARRIED}), DTYPES, (engine.MOST_NUMBERS, 0), (7, 1))


@pytest.mark.parametrize(("path", "dtype", "most", "rates"), few_in_short(NUMBERS, 4))
def test_what_differs_from_lane_to_lane_is_computed_in_the_kernel(
    path, dtype, most, rates, transfers, monkeypatch
):
    monkeypatch.setattr(engine, "MOST_NUMBERS", most)
    monkeypatch.setattr(group_update, "chunk_length", lambda lanes: 2)
    monkeypatch.setattr(trainer, "REPORT_SECONDS", np.inf)
    expected, found = both([*differing(path, dtype, 6, STEPS, rates)])
    assert found == expected
    assert (stand_in.launched["trajectory"] <= 5) == (path in DIFFERING)  # although tables have two rows


@pytest.mark.parametrize("stop", [17, 30])
def test_a_trajectory_goes_on_from_a_checkpoint(stop, transfers):
    chosen = configs(checkpoint={"every": 15}, stop={"target": 0.1})
    whole, parts = run(on("numpy", chosen)), MemoryStore(chosen)
    parts.resumable = True
    Trainer(Pack(on("cupy", chosen)), parts, until=stop).run()
    resumed = Trainer(Pack(on("cupy", chosen)), parts)
    resumed.resume([parts.checkpoint(lane) for lane in range(len(chosen))])
    before = stand_in.launched["trajectory"]
    resumed.run()
    assert 0 < before < stand_in.launched["trajectory"]
    assert [everything(parts, lane) for lane in range(len(chosen))] == whole


def test_a_kernel_that_fails_fails_the_run_and_what_was_recorded_is_kept(transfers, monkeypatch):
    launch = stand_in.Kernel._launch

    def failing(kernel, *args):
        if kernel._name == "trajectory":
            raise stand_in.CUDARuntimeError("the device is gone")
        launch(kernel, *args)

    monkeypatch.setattr(stand_in.Kernel, "_launch", failing)
    memory = MemoryStore(chosen := on("cupy", configs()))
    with pytest.raises(RunFailedError, match="the device is gone"):
        Trainer(Pack(chosen), memory).run()
    assert memory.state(0).status == "failed"
    assert memory.curves(0)["step"].tolist() == [0]
