"""Lanes that differ in the numbers of their problem: each has the bits of its solo run."""

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.ops import sum
from optrun.problems import Function
from optrun.registry import problems
from optrun.training.pack import Pack
from tests.optim.samples import in_turn
from tests.registries import restore_after
from tests.sweeps.support import prepared
from tests.training.test_pack import results


@pytest.fixture(autouse=True)
def _stretched(monkeypatch):
    restore_after(monkeypatch, problems)

    class Stretched(Function):
        start = (1.0,)

        @staticmethod
        def f(x, /, *, dim: int = 2, power: float = 2.0, at: list[float] = [0.0], by: dict[str, float] = {}):  # noqa: B006
            return by["a"] * sum(abs(x - at[0]) ** power) + by["b"] * x[0]


CASES = {
    "noise": [{"name": "beale", "noise": each} for each in (0.0, 0.5, 0.0, 2.0)],
    "start": [{"name": "rosenbrock", "dim": 3, "start": [each, 1.0, -each]} for each in (-2.0, 0.0, 1.0)],
    "sign of zero": [
        {"name": "expression", "f": "y**2 + 0 * x", "start": {"x": each, "y": 1.0}} for each in (0.0, -0.0)
    ],
    "condition": [{"name": "quadratic", "dim": 3, "condition": each} for each in (1.0, 3.0, 100.0)],
    "many dimensions": [{"name": "quadratic", "dim": 400, "condition": each} for each in (1.0, 3.0)],
    "spectrum": [
        {"name": "quadratic", "dim": 3, "spectrum": {"power_law": each}} for each in (0.5, 1.0, 2.0)
    ],
    "formula": [
        {"name": "stretched", "power": 1.5 + each, "at": [-each], "by": {"a": each, "b": 1.0}}
        for each in (0.5, 1.0, 1.5)
    ],
    "l1": [{"name": "linear_regression", "l1": each, "l2": 0.1} for each in (0.0, 0.1, 0.5)],
    "l2": [{"name": "softmax_regression", "data": "iris", "l2": each} for each in (0.0, 0.1, 0.5)],
}


@pytest.mark.parametrize(("case", "dtype"), in_turn(zip(CASES), ["float32", "float64"]))
def test_a_lane_with_its_own_numbers_has_the_bits_of_its_solo_run(case, dtype):
    lanes = [
        from_mapping(
            {
                "problem": problem,
                "optimizer": {"name": "SGD", "lr": rate},
                "steps": 20,
                "seed": seed,
                "dtype": dtype,
                "evaluate": {"every": 4},
            }
        )
        # The large rates diverge, so that the pack is narrowed and some lanes are evaluated before others.
        for seed, rate in enumerate((1e-3, 1e3))
        for problem in CASES[case]
    ]
    assert results(lanes) == [results([each])[0] for each in lanes]


def test_numbers_of_a_problem_are_lanes_of_one_pack_and_all_else_is_not():
    def packs(name, **parameters):
        data = {"problem": name, "optimizer": "SGD", "steps": 2, "sweep": {"parameters": parameters}}
        return [len(group.runs) for group in prepared(data)[1]]

    assert packs("beale", **{"problem.noise": [0, 0.1, 1.0], "optimizer.lr": [0.1, 0.2]}) == [6]
    start = {"name": "beale", "start": [1.0, 1.0]}
    assert packs(start, **{"problem.start.0": {"linspace": [-1, 1, 5]}}) == [5]
    assert packs("quadratic", **{"problem.condition": [2.0, 3.0], "problem.dim": [2, 3]}) == [2, 2]
    assert packs({"name": "quadratic", "rotation": True}, **{"problem.condition": [2.0, 3.0]}) == [1, 1]
    assert packs("softmax_regression", **{"problem.l1": [0.0, 0.1], "problem.l2": [0.0, 0.1]}) == [4]
    assert packs("softmax_regression", **{"problem.l2": [0.0, 0.1], "problem.batch_size": [8, 16]}) == [2, 2]


def test_a_pack_of_problems_that_differ_in_more_than_numbers_is_refused():
    configs = [
        from_mapping({"problem": {"name": "sphere", "dim": dim}, "optimizer": "SGD", "steps": 1})
        for dim in (2, 3)
    ]
    with pytest.raises(ConfigError, match="differ in problem"):
        Pack(configs)


def test_what_is_kept_of_data_is_found_by_runs_that_share_a_pack(tmp_path):
    data = {"problem": {"name": "softmax_regression", "data": "iris"}, "optimizer": "SGD", "steps": 3}
    optrun.sweep(data | {"sweep": {"parameters": {"problem.l2": [0.0, 0.1]}}}, directory=tmp_path / "s")
    for run in range(2):
        loaded = optrun.load_run(f"{tmp_path}/s:{run}")
        assert loaded.baselines
        assert len(loaded.predict(np.ones((1, 4)))) == 1
