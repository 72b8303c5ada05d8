"""Whole runs with `backend: cupy`, on a stand-in for the device: the results are those of the CPU."""

import numpy as np
import pytest

from optrun.config import RunConfig
from optrun.registry import optimizers
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
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


def results(configs, sink=None):
    """Run the lanes of a pack and return all that is kept of each."""
    memory = Memory(configs)
    Trainer(Pack(configs), memory).run()
    return [
        {
            "state": vars(memory.state(lane)),
            **{f"curve {name}": values.tobytes() for name, values in memory.curves(lane).items()},
            **{f"evaluation {name}": values.tobytes() for name, values in memory.evaluations(lane).items()},
            **{
                f"final {name}": np.ascontiguousarray(of).tobytes()
                for name, of in memory.params(lane).items()
            },
        }
        for lane in range(len(configs))
    ]


def both(lanes):
    """Return the results of the CPU and of the device, given the changes of every lane."""
    return [results([config(backend=backend, **each) for each in lanes]) for backend in ("numpy", "cupy")]


def of_rates(rates, **changes):
    return [{"optimizer": {"name": "SGD", "lr": rate}, **changes} for rate in rates]


@pytest.mark.parametrize("name", list(optimizers))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_gives_the_results_of_the_cpu(name, dtype, transfers):
    problem = RIDGE if name != "Muon" else {**RIDGE, "bias": False}
    lanes = [{"optimizer": {"name": name, "lr": lr}, "problem": problem} for lr in (0.01, 0.1)]
    if not optimizers.find(name).batched:
        lanes = lanes[:1]
    expected, found = both([{**each, "dtype": dtype, "steps": 40} for each in lanes])
    assert found == expected


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_problem_gives_the_results_of_the_cpu(case, transfers):
    name, options = case
    problem = {"name": name, **options}
    expected, found = both(of_rates([1e-4, 1e-3, 1e-2], problem=problem, steps=30, evaluate={"every": 7}))
    assert found == expected


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
}


@pytest.mark.parametrize("changes", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lane_that_ends_between_two_looks_has_the_results_of_the_cpu(changes, dtype, transfers):
    rates = [1e-4, 3e-4, 1e-3, 2e-3, 2.5e-3, 3e-3, 5e-3, 1e-2]
    expected, found = both(of_rates(rates, dtype=dtype, steps=150, **changes))
    assert len({lane["state"]["steps"] for lane in expected}) > 1
    assert found == expected
