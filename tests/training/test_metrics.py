"""A metric is one class in one file: it is recorded, evaluated, ranked by, compared at rungs, drawn and exported."""

import json
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.cli import completion
from optrun.config import ConfigErrors, from_mapping
from optrun.config.model.json_schema import json_schema
from optrun.errors import RunFailedError
from optrun.optim.metrics import CurveMetric
from optrun.plugins import load_plugin
from optrun.registry import metrics
from optrun.store import Store
from tests.cli.looking import call
from tests.registries import restore_after

__all__ = ["call"]

PLUGIN = '''
"""Metrics of a plugin."""
from optrun.arrays import lane_sum
from optrun.optim import CurveMetric


class GradMax(CurveMetric):
    """max |g|, the largest entry of the gradient."""

    @staticmethod
    def measure(g):
        return abs(g).max(axis=-1)


class ParamMax(CurveMetric):
    """max |θ|, the largest entry of the parameters."""

    @staticmethod
    def measure(p):
        return abs(p).max(axis=-1)


class Descent(CurveMetric):
    """-Σ g (θ′ - θ), by how much the update goes down."""

    @staticmethod
    def measure(u, g):
        return -lane_sum(u * g)


class Drift(CurveMetric):
    """θ₀ + θ₀′ - θ₀: both ends of an update."""

    @staticmethod
    def measure(p, u):
        return p[:, 0] + u[:, 0]
'''
NAMES = ["grad_max", "param_max", "descent", "drift"]
LR = 1e-3
BASE = {
    "name": "x",
    "problem": {"name": "quadratic", "dim": 3},
    "optimizer": {"name": "SGD", "lr": LR},
    "dtype": "float64",
    "steps": 8,
    "record": {"metrics": [*NAMES, "param_norm", "update_norm"]},
    "evaluate": {"every": 3, "metrics": ["param_max"]},
}


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    restore_after(monkeypatch, metrics)
    Path("ours.py").write_text(PLUGIN)
    load_plugin("ours.py")


def test_every_row_has_what_the_parameters_the_gradient_and_the_update_are():
    run = optrun.run(BASE, save=False)
    rows = run.curves
    before, after = ["param_norm", "grad_max", "param_max"], ["update_norm", "descent", "drift"]
    assert list(rows) == ["step", "loss", "lr", *before, *after]
    # SGD: the update is -lr g.
    np.testing.assert_allclose(rows["drift"][-1], run.params["x"][0], rtol=1e-12)
    np.testing.assert_allclose(rows["update_norm"] ** 2 / LR, rows["descent"], rtol=1e-12)
    assert (rows["grad_max"] <= rows["update_norm"] / LR * (1 + 1e-12)).all()
    assert (rows["param_max"] <= rows["param_norm"]).all()
    assert rows["param_max"][-1] < run.summary["param_max"] == np.abs(run.params["x"]).max()
    assert run.evaluations["param_max"].tolist() == [*rows["param_max"][::3], run.summary["param_max"]]


@pytest.mark.full
@pytest.mark.parametrize("optimizer", ["Adam", "LBFGS"])
def test_a_lane_has_the_bits_of_its_run_alone_and_the_gradient_is_that_of_the_row(optimizer):
    data = BASE | {"optimizer": optimizer, "sweep": {"parameters": {"optimizer.lr": [1e-4, 1e-3, 1e-2]}}}
    sweep = optrun.sweep(data, save=False)
    for run, config in zip(sweep.runs, sweep.configs, strict=True):
        alone = optrun.run(config, save=False)
        assert {name: of.tobytes() for name, of in run.curves.items()} == {
            name: of.tobytes() for name, of in alone.curves.items()
        }
        assert run.summary == alone.summary
        assert (run.curves["descent"] >= 0).all()
        assert run.curves["descent"][0] > 0


def test_settings_are_ranked_by_it_and_compared_at_rungs():
    rates = [1e-5, 1e-2, 3e-3, 1e-4]
    block = {"parameters": {"optimizer.lr": rates}, "metric": {"name": "param_max"}}
    best = optrun.sweep(BASE | {"sweep": block}, save=False).table()[0]
    halving = {"method": "halving", "halving": {"min_steps": 3, "factor": 2}}
    sweep = optrun.sweep(BASE | {"sweep": block | halving}, save=False)
    assert sweep.table()[0]["setting"] == best["setting"]
    short = [BASE | {"steps": 3, "optimizer": {"name": "SGD", "lr": rate}} for rate in rates]
    at_rung = [optrun.run(each, save=False) for each in short]
    order = sorted(range(4), key=lambda i: at_rung[i].summary["param_max"])
    assert {i for i, state in enumerate(sweep.states) if state.steps == 3} == set(order[2:])


def test_it_is_drawn(call):
    pytest.importorskip("matplotlib")
    Path("f.yaml").write_text(json.dumps(BASE))
    assert call("run", "f.yaml", "-o", "run", "--plugin", "ours.py").code == 0
    assert call("plot", "run", "--metric", "descent", "-o", "p.svg").code == 0


def test_it_is_listed_exported_expected_and_in_the_schema(call):
    Path("f.yaml").write_text(json.dumps(BASE | {"expect": {"param_max": {"max": 1e-9}}}))
    assert call("run", "f.yaml", "-o", "run", "--plugin", "ours.py").code == 4
    assert "grad_max" in call("curves", "run", "--metric", "grad_max").out
    assert "grad_max" in Path("run/metrics.csv").read_text().splitlines()[0]
    assert json.loads(call("list", "metrics", "--json").out)["metrics"]["grad_max"].startswith("max |g|")
    assert "metrics: [grad_max]" in call("show", "GradMax").out
    assert "grad_max" in completion.names("grad")
    schema = json_schema()["definitions"]
    assert "grad_max" in schema["Record"]["properties"]["metrics"]["items"]["anyOf"][0]["enum"]
    evaluable = schema["Evaluate"]["properties"]["metrics"]["items"]["enum"]
    assert evaluable[:6] == ["param_norm", "sharpness", "trace", "gap", "distance", "param_max"]
    assert "grad_max" not in evaluable
    assert "f1_macro" in evaluable
    with Store.open(Path("run")) as store:
        assert {"metric grad_max", "metric param_max"} <= store.events("code")[-1].details["sources"].keys()


KNOWN = (
    "must be 'param_norm' or 'sharpness' or 'trace' or 'gap' or 'distance' or 'param_max' or 'accuracy' or "
)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"record": {"metrics": ["grad_mux"]}}, "(got 'grad_mux'). Did you mean 'grad_max'?"),
        ({"evaluate": {"metrics": ["param_mux"]}}, "(got 'param_mux'). Did you mean 'param_max'?"),
        ({"evaluate": {"metrics": ["grad_max"]}}, f"evaluate.metrics.0: {KNOWN}"),
    ],
)
def test_one_that_is_not_there_has_its_place(more, said):
    with pytest.raises(ConfigErrors) as caught:
        from_mapping(BASE | more)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (lambda g: g.sum(), "not an array of shape (1,): one number for each lane"),
        (lambda g: g, "returns shape (1, 3)"),
        (lambda g: [0.0], "returns type list"),
        (lambda g: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_one_that_returns_no_number_for_each_lane_is_to_blame(measure, said):
    type("Wrong", (CurveMetric,), {"measure": staticmethod(measure)})
    with pytest.raises(RunFailedError, match="test_metrics.py") as caught:
        optrun.run(BASE | {"record": {"metrics": ["wrong"]}}, save=False)
    assert said in str(caught.value)


def test_a_class_that_cannot_be_a_metric_is_refused_where_it_is_defined():
    with pytest.raises(TypeError, match="Other.measure takes some of p, g and u"):
        type("Other", (CurveMetric,), {"measure": staticmethod(lambda x: x)})
    type("Empty", (CurveMetric,), {})
    with pytest.raises(ConfigErrors):
        from_mapping(BASE | {"record": {"metrics": ["empty"]}})
    assert "lacks measure(p, g, u)" in str(next(iter(metrics.lacking().values())))


@pytest.mark.parametrize("name", ["Step", "Loss", "Lr", "LoSs"])
def test_none_has_the_name_of_a_column_of_every_curve(name):
    with pytest.raises(TypeError, match=f"{name}: its column would be .*, which every curve has"):
        type(name, (CurveMetric,), {"measure": staticmethod(lambda p: p[:, 0])})
    assert list(from_mapping(BASE | {"record": {}}).record.measured) == []


def test_none_is_recorded_in_place_of_a_hyperparameter():
    type("Momentum", (CurveMetric,), {"measure": staticmethod(lambda p: p[:, 0])})
    record = {"record": {"metrics": ["grad_max", "momentum"]}}
    with pytest.raises(ConfigErrors, match="record.metrics.1: 'momentum' is both .*test_metrics.py.* of SGD"):
        from_mapping(BASE | record)
    adam = BASE | {"optimizer": {"name": "Adam"}} | record
    assert from_mapping(adam).record.measured == ["grad_max", "momentum"]
