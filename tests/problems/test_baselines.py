"""What predicts without training, beside the figures of a run."""

import json
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.untrained import untrained_of
from optrun.arrays import Arrays
from optrun.registry import problems
from tests.cli.looking import call

__all__ = ["call"]


def test_the_class_prior_and_the_mean_by_hand(call):
    rows = "".join(
        f"{i % 5},{part},{'b' if i % 4 else 'a'}\n" for part in ("train", "test") for i in range(8)
    )
    Path("t.csv").write_text(f"x,fold,y\n{rows}")
    text = "problem: {name: logistic_regression, data: ./t.csv, split: fold}\noptimizer: SGD\nsteps: 1\n"
    Path("f.yaml").write_text(f"{text}dtype: float64\nevaluate: {{metrics: [f1_macro, brier]}}\n")
    run = optrun.run("f.yaml", directory="run")
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    expected = {"accuracy": 0.75, "loss": entropy, "f1_macro": 6 / 7 / 2, "brier": 0.75 * 0.25}
    assert run.baselines["class prior"] == pytest.approx(
        {f"{part}_{name}": value for part in ("train", "test") for name, value in expected.items()}, rel=1e-14
    )
    assert optrun.load_run("run").baselines == run.baselines
    for command in (("show", "run"), ("run", "f.yaml", "--no-save")):
        lines = [line.split() for line in call(*command).out.splitlines() if "test_accuracy" in line]
        assert lines[0][2:6] == ["class", "prior", "0.75", "least"]
    assert json.loads(call("show", "run", "--json").out)["baselines"] == run.baselines


def test_a_sweep_keeps_those_of_each_of_its_problems(call):
    Path("f.yaml").write_text(
        "problem: {name: softmax_regression, data: iris}\noptimizer: SGD\nsteps: 1\n"
        "sweep: {parameters: {problem.data: [iris, wine]}, repeats: 2}\n"
    )
    assert call("sweep", "f.yaml", "-j", "1", "-o", "s").code == 0
    for number, data in enumerate(["iris", "iris", "wine", "wine"]):
        expected = problems.find("softmax_regression")(Arrays(), data=data).baselines([])
        assert json.loads(call("show", f"s:{number}", "--json").out)["baselines"] == expected
        assert optrun.load_run(f"s:{number}").baselines == expected
    # The splits differ, and so do the figures.
    assert call("sweep", "f.yaml", "problem.split_seed=seed", "-j", "1", "-o", "t").code == 0
    assert "baselines" not in json.loads(call("show", "t:0", "--json").out)


def test_what_answers_for_a_sweep_has_those_of_each_problem_whatever_the_batches(call):
    Path("f.yaml").write_text(
        "problem: {name: softmax_regression, data: iris}\noptimizer: SGD\nsteps: 1\n"
        "sweep:\n  metric: test_accuracy\n  parameters:\n    problem.data: [iris, wine]\n"
        "    problem.batch_size: [16, 32]\n    optimizer.name: [SGD, Adam]\n"
    )
    expected = {}
    for data in ("iris", "wine"):
        found = problems.find("softmax_regression")(Arrays(), data=data).baselines([])
        expected[f"softmax_regression data={data}"] = {
            name: figures["test_accuracy"] for name, figures in found.items()
        }
    document = json.loads(call("sweep", "f.yaml", "-j", "1", "-o", "s", "--json").out)
    assert {each.pop("problem"): each for each in document["untrained"]} == expected
    found = optrun.compare("s", metric="test_accuracy")
    assert {table.problem: table.untrained for table in found.problems} == expected
    for command in ("show", "compare"):
        lines = [line for line in call(command, "s").out.splitlines() if "without training: " in line]
        assert [float(line.split("class prior ")[1].split(",")[0]) for line in lines] == pytest.approx(
            [each["class prior"] for each in expected.values()], abs=1e-4
        )


@pytest.mark.parametrize(
    ("metric", "figure"),
    [
        ("best_val_loss", 3.0),
        ("average_val_loss", 3.0),
        ("val_loss_at_best_val_accuracy", 3.0),
        ("loss", None),
    ],
)
def test_a_figure_of_a_curve_has_that_of_its_series_beside_it(metric, figure):
    found = untrained_of({"mean": {"val_loss": 3.0, "val_accuracy": 0.5}}, metric)
    assert found == ({} if figure is None else {"mean": figure})


@pytest.mark.full
@pytest.mark.parametrize("name", ["softmax_regression", "mlp", "logistic_regression"])
def test_classes_are_those_of_scikit_learn(name):
    dummy, linear = pytest.importorskip("sklearn.dummy"), pytest.importorskip("sklearn.linear_model")
    problem = problems.find(name)(Arrays(dtype="float64"))
    found = problem.baselines(["log_loss", "roc_auc"])
    (x, _), y = problem.parts["train"], problem.targets["train"]
    prior = dummy.DummyClassifier(strategy="prior").fit(x, y)
    fitted = linear.LinearRegression().fit(x, np.eye(y.max() + 1)[y])
    for part, (samples, _) in problem.parts.items():
        own = problem.targets[part]
        assert found["class prior"][f"{part}_accuracy"] == prior.score(samples, own)
        said = -prior.predict_log_proba(samples)[np.arange(len(own)), own].mean()
        assert found["class prior"][f"{part}_loss"] == pytest.approx(said, rel=1e-12)
        accuracy = (fitted.predict(samples).argmax(axis=1) == own).mean()
        assert found["least squares"][f"{part}_accuracy"] == accuracy
        assert found["class prior"][f"{part}_roc_auc"] == 0.5 < found["least squares"][f"{part}_roc_auc"]
    assert not {"train_loss", "train_log_loss"} & found["least squares"].keys()


@pytest.mark.parametrize("standardize", [True, False])
def test_numbers_are_those_of_a_solved_regression_in_the_units_of_the_target(standardize):
    problem = problems.find("linear_regression")(Arrays(dtype="float64"), standardize=standardize)
    found = problem.baselines(["rmse", "r2", "mae"])
    assert found["least squares"]["train_loss"] == pytest.approx(problem.minimum, rel=1e-10)
    assert found["mean"]["train_rmse"] == pytest.approx(problem.targets["train"].std(), rel=1e-12)
    assert found["mean"]["train_r2"] == pytest.approx(0, abs=1e-12)
    other = problems.find("linear_regression")(Arrays(dtype="float64"), standardize=not standardize)
    assert found["least squares"]["test_mae"] == pytest.approx(
        other.baselines(["mae"])["least squares"]["test_mae"], rel=1e-9
    )


def test_a_problem_without_predictions_has_none():
    assert problems.find("rosenbrock")(Arrays()).baselines([]) == {}
