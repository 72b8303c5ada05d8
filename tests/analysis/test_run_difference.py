"""Where two runs part."""

from pathlib import Path

import numpy as np
import pytest

from optrun.analysis.run_difference import ABSENT, differing_labels, flatten, run_difference
from optrun.store import RunState, Status, Store


def made(name, curves, config=None, **state):
    with Store.create(Path("runs"), name, config_yaml="", runs=[(config or {"seed": 0}, 0)]) as store:
        store.commit(
            curves={0: {"lr": [1.0] * len(curves["step"]), **curves}},
            states={0: RunState(status=Status.COMPLETED, steps=3, **state)},
            params={0: {"w": np.array([1.0, 2.0])}},
        )
        return store.path


def differences(a, b):
    with Store.open(a) as one, Store.open(b) as other:
        return run_difference(one, other)


STEPS = np.arange(4)


def test_runs_of_one_config_are_identical(small):
    found = differences(small(), small())
    assert found.identical
    assert found.same_results
    assert not found.curves


def test_the_first_step_and_the_greatest_difference_are_found():
    a = made("a", {"step": STEPS, "loss": [4.0, 3.0, 2.0, np.nan]})
    b = made("b", {"step": STEPS, "loss": [4.0, 3.0, np.nextafter(2.0, 3), np.nan]})
    (curve,) = differences(a, b).curves
    assert (curve.name, curve.step, curve.values) == ("loss", 2, (2.0, np.nextafter(2.0, 3)))
    assert curve.greatest == np.spacing(2.0)


def test_minus_zero_is_another_value_and_nan_is_itself():
    a = made("a", {"step": STEPS, "loss": [0.0, 1, np.nan, 1]})
    b = made("b", {"step": STEPS, "loss": [-0.0, 1, np.nan, 1]})
    (curve,) = differences(a, b).curves
    assert (curve.step, curve.greatest) == (0, 0.0)
    c = made("c", {"step": STEPS, "loss": [0.0, 1, 5.0, 1]})
    (curve,) = differences(a, c).curves
    assert (curve.step, curve.greatest) == (2, np.inf)


def test_steps_and_curves_that_one_has_alone_are_counted():
    a = made("a", {"step": STEPS, "loss": [1.0, 2, 3, 4], "grad_norm": [1.0] * 4})
    b = made("b", {"step": STEPS[1:], "loss": [2.0, 3, 4]})
    by_name = {curve.name: curve for curve in differences(a, b).curves}
    assert (by_name["loss"].step, by_name["loss"].only) == (None, (1, 0))
    assert by_name["grad_norm"].only == (4, 0)


def test_config_summary_and_environment_are_compared_key_by_key(small):
    found = differences(small(), small("optimizer.lr=1e-3", "seed=3"))
    assert found.config == {"optimizer.lr": (1e-4, 1e-3), "seed": (0, 3)}
    assert "final_loss" in found.summary
    assert found.params["x"] > 0
    assert not found.environment
    assert not found.same_results


def test_nested_values_are_flattened():
    nested = {"a": {"b": [1, 2]}, "c": [{"d": 1}, 2]}
    assert flatten(nested) == {"a.b": [1, 2], "c.0.d": 1, "c.1": 2}


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        (
            [{"name": "x", "optimizer": {"lr": 0.1}}, {"name": "x", "optimizer": {"lr": 0.2}}],
            ["lr=0.1", "lr=0.2"],
        ),
        ([{"optimizer": {"name": "A"}}, {"optimizer": {"name": "B", "beta": 1}}], ["A", "B, beta=1"]),
        (
            [
                {"scheduler": None, "a": True, "b": "s"},
                {"scheduler": {"name": "B"}, "a": [1, None], "b": "t"},
            ],
            ["scheduler=null, a=true, b=s", "a=[1, null], b=t, B"],
        ),
        (
            [
                {
                    "optimizer": {
                        "lr": 0.1,
                        "gradient": [{"name": "ClipNorm", "max_norm": 2.0, "over": "run"}],
                    }
                },
                {"optimizer": {"lr": 0.2, "wrap": [{"name": "Lookahead"}]}},
            ],
            ["lr=0.1, gradient=[ClipNorm max_norm=2.0]", "lr=0.2, wrap=[Lookahead]"],
        ),
        ([{"optimizer.wrap": [{"name": "SAM"}]}, {"optimizer.wrap": []}], ["wrap=[SAM]", "wrap=[]"]),
        ([{"name": "only", "seed": 1}], ["only"]),
        ([{"name": "x", "seed": 1}, {"name": "y", "seed": 1}], ["x", "y"]),
    ],
)
def test_runs_are_labelled_by_what_differs(configs, expected):
    assert differing_labels(configs) == expected
    assert ABSENT not in "".join(differing_labels(configs))
