"""Metrics of predictions as figures of runs and sweeps: measured, ranked by, stopped by, expected and refused."""

from pathlib import Path

import pytest

import optrun
from optrun.errors import ConfigError
from optrun.plugins import load_plugin
from optrun.registry import prediction_metrics
from tests.cli.looking import call
from tests.registries import restore_after

__all__ = ["call"]

PROBLEM = {"name": "softmax_regression", "data": "iris", "validation_fraction": 0.2}
RUN = {
    "problem": PROBLEM,
    "optimizer": {"name": "Adam", "lr": 0.1},
    "steps": 20,
    "dtype": "float64",
    "evaluate": {"every": 5, "metrics": ["f1_macro", "roc_auc"]},
}


def test_each_part_has_its_figures_and_the_average_too():
    run = optrun.run({**RUN, "average": "swa"}, save=False)
    assert {f"{part}_{name}" for part in ("train", "val", "test") for name in ("f1_macro", "roc_auc")} < (
        run.summary.keys()
    )
    assert 0 < run.summary["average_val_f1_macro"] <= 1
    assert run.evaluations["val_f1_macro"][-1] == run.summary["val_f1_macro"]
    assert run.evaluations["step"].tolist() == [0, 5, 10, 15, 20]


def test_settings_are_ranked_by_the_higher_one():
    block = {"parameters": {"optimizer.lr": [1e-4, 0.1]}, "metric": {"name": "val_f1_macro"}}
    sweep = optrun.sweep({**RUN, "sweep": block}, save=False)
    best, other = (row["median"] for row in sweep.table())
    assert best > other
    assert sweep.metric.goal == "maximize"
    for run, config in zip(sweep.runs, sweep.configs, strict=True):
        assert run.summary == optrun.run(config, save=False).summary


def test_a_run_ends_where_it_is_no_longer_higher():
    long = {**RUN, "steps": 200, "stop": {"metric": "val_f1_macro", "patience": 15}}
    run = optrun.run(long, save=False)
    assert str(run.status) == "early_stopped"
    values = run.evaluations["val_f1_macro"].tolist()
    assert run.reason.startswith(
        f"no val_f1_macro above {max(values):g} at step {5 * values.index(max(values))}"
    )


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"evaluate": {"metrics": ["f1_macro", "r2"]}}, "evaluate.metrics.1", "predicts classes: accuracy, "),
        ({"problem": "quadratic"}, "evaluate.metrics.0", "which predicts nothing"),
        (
            {"problem": "linear_regression"},
            "evaluate.metrics.0",
            "which predicts numbers: rmse, mae, mape, r2",
        ),
        ({"expect": {"val_brier": {"max": 1}}}, "expect.val_brier", "metrics: [brier]}` measures it"),
        ({"expect": {"val_f1_marco": {"min": 1}}}, "expect.val_f1_marco", "Did you mean 'val_f1_macro'?"),
        (
            {"stop": {"metric": "val_f1_marco", "patience": 5}},
            "stop.metric",
            "Did you mean 'val_f1_macro'?",
        ),
    ],
)
def test_what_is_not_measured_is_refused_with_its_place(changes, field, said):
    with pytest.raises(ConfigError) as caught:
        optrun.run(RUN | changes, save=False)
    assert caught.value.field == field
    assert said in str(caught.value)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_part_without_a_class_has_no_ranking(metric, call):
    Path("t.csv").write_text("x,fold,y\n" + "1,train,a\n2,train,b\n3,test,a\n4,test,a\n" * 3)
    text = "problem: {name: softmax_regression, data: ./t.csv, split: fold}\noptimizer: SGD\nsteps: 1\n"
    Path("f.yaml").write_text(f"{text}evaluate: {{metrics: [f1_macro, {metric}]}}\n")
    done = call("run", "f.yaml", "--no-save")
    assert done.code == 2
    said = f"evaluate.metrics.1: {metric} does not suit softmax_regression, whose test part has no sample of class 'b'"
    assert done.err.strip().endswith(said)
    assert done.err.strip().startswith("f.yaml:4:32: ")
    assert call("run", "f.yaml", "--no-save", "evaluate.metrics=[f1_macro]").code == 0


PLUGIN = '''
from optrun.problems import ClassificationMetric

class Misses(ClassificationMetric):
    """The number of samples whose class is not predicted."""

    goal = "minimize"

    @staticmethod
    def measure(predicted, targets):
        return (predicted != targets).sum(axis=-1)
'''


def test_a_plugin_has_its_own(monkeypatch):
    restore_after(monkeypatch, prediction_metrics)
    Path("ours.py").write_text(PLUGIN)
    load_plugin("ours.py")
    run = optrun.run({**RUN, "evaluate": {"metrics": ["misses"]}}, save=False)
    assert run.summary["test_misses"] == pytest.approx(30 * (1 - run.summary["test_accuracy"]))
