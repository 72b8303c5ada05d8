"""Rules that depend on the loss of the step's batch."""

from typing import Any

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.optim import SGD, Optimizer, PolyakSGD
from optrun.optim.transforms import ClipNorm, composed
from optrun.registry import NonNegative
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer


class _LossTimesGradient(Optimizer):
    """Without a sum: the loss alone makes a step wait."""

    @staticmethod
    def update(p: Any, g: Any, t: Any, loss: Any, /, *, lr: NonNegative = 1.0) -> None:
        p -= lr * loss * g


def parameters(lanes=2):
    params = Parameters({"a": (2,), "b": ()}, lanes=lanes, arrays=Arrays(dtype="float64"))
    params.grad[:] = 1.0
    return params


@pytest.mark.parametrize(
    "rule", [_LossTimesGradient, composed(_LossTimesGradient, gradient=[ClipNorm(max_norm=9.0)])]
)
@pytest.mark.parametrize("how", ["closure", "loss"])
def test_a_rule_is_given_the_loss_of_each_lane(rule, how):
    params = parameters()
    optimizer, loss = rule(params), np.array([2.0, 3.0])
    given = {"closure": lambda: loss} if how == "closure" else {"loss": loss}
    assert optimizer.step(**given) is loss
    np.testing.assert_allclose(params.data, -loss[:, None] * np.ones((1, 3)), rtol=1e-15)


def test_a_group_is_given_the_loss_where_the_rule_of_others_takes_none():
    params = parameters(1)
    optimizer = SGD(params, [{"params": "a", "lr": 0.5}, {"params": "b", "rule": _LossTimesGradient}])
    optimizer.step(loss=7.0)
    assert params.data.tolist() == [[-0.5, -0.5, -7.0]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "PolyakSGD: the step depends on the loss of the batch: step(closure) or step(loss=loss)"),
        ({"closure": lambda: None}, "step(closure) or step(loss=loss)"),
        ({"loss": 1.0}, "the loss is (), not one number for each of the 2 lanes"),
        ({"loss": np.ones((2, 1))}, "the loss is (2, 1), not"),
    ],
)
def test_a_step_without_the_loss_is_refused(given, said):
    params = parameters()
    with pytest.raises(ConfigError) as error:
        PolyakSGD(params).step(**given)
    assert said in str(error.value)
    assert not params.data.any()


def test_a_run_gives_each_lane_its_loss():
    """On f = ‖x - x*‖² / 2 Polyak's step with c = 1/2 leads to the minimum."""
    lanes = [
        from_mapping(
            {
                "problem": {"name": "quadratic", "dim": 4, "condition": 1.0, "init": {"uniform": [[-3, 3]]}},
                "optimizer": {"name": "PolyakSGD", "scaling": 0.5, "lr": 10.0},
                "steps": 2,
                "seed": seed,
                "evaluate": {"every": 1},
                "dtype": "float64",
            }
        )
        for seed in range(3)
    ]
    store = MemoryStore(lanes)
    Trainer(Pack(lanes), store).run()
    for lane in range(3):
        before, after = store.curves(lane)["loss"]
        assert before > 1e-3
        assert after <= 1e-20
