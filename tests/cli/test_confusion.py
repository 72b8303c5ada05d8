"""`show RUN --confusion`: how many samples of each class a run predicts as each."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.looking import call

__all__ = ["call"]

CONFIG = """\
problem: {name: softmax_regression, data: ./t.csv, test_fraction: 0.25}
optimizer: {name: Adam, lr: 0.1}
steps: 20
dtype: float64
"""


@pytest.fixture(autouse=True)
def table():
    draws = np.random.default_rng(0)
    rows = [f"{c + draws.standard_normal():.3f},{name}" for c, name in enumerate("abc") for _ in range(20)]
    Path("t.csv").write_text("\n".join(["x,kind", *rows]) + "\n")
    Path("f.yaml").write_text(CONFIG)


@pytest.mark.full
def test_rows_are_the_true_classes(call):
    pytest.importorskip("sklearn")
    from sklearn.metrics import confusion_matrix

    import optrun
    from optrun.arrays import Arrays
    from optrun.registry import problems

    run = optrun.run("f.yaml", directory="run")
    found = json.loads(call("show", "run", "--confusion", "--json").out)["confusion"]
    assert found["classes"] == ["a", "b", "c"]
    problem = problems.find("softmax_regression")(Arrays(dtype="float64"), data="./t.csv", test_fraction=0.25)
    for part, size in (("train", 15), ("test", 5)):
        x, _ = problem.parts[part]
        said = (x @ run.params["weight"] + run.params["bias"]).argmax(axis=1)
        assert found[part] == confusion_matrix(problem.targets[part], said).tolist()
        assert np.sum(found[part], axis=1).tolist() == [size] * 3
    shown = call("show", "run", "--confusion").out.splitlines()
    at = shown.index("confusion, test")
    assert shown[at + 2].split() == ["a", "b", "c"]
    assert shown[at + 3].split() == ["a", *map(str, found["test"][0])]


def test_a_run_of_a_sweep_has_its_own_and_the_sweep_has_none(call):
    assert call("sweep", "f.yaml", "optimizer.lr=1e-9,0.1", "-o", "s", "-j", "1").code == 0
    for run in (0, 1):
        found = json.loads(call("show", f"s:{run}", "--confusion", "--json").out)
        share = np.trace(found["confusion"]["test"]) / 15
        assert share == pytest.approx(found["summary"]["test_accuracy"])
    done = call("show", "s", "--confusion")
    assert (done.code, "SWEEP:N" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("overrides", "before", "said"),
    [
        ([], "x,kind\n1,a\n2,b\n3,a\n4,b\n5,a\n6,b\n7,a\n8,b\n", "changed since the run"),
        (["problem=rosenbrock"], "", "the problem predicts no classes"),
        (["problem.name=linear_regression", "problem.data=diabetes"], "", "the problem predicts no classes"),
    ],
)
def test_what_has_none_says_why(call, overrides, before, said):
    assert call("run", "f.yaml", "-o", "run", *overrides).code == 0
    if before:
        Path("t.csv").write_text(before)
    done = call("show", "run", "--confusion")
    assert (done.code != 0, said in done.err) == (True, True), done.err


def test_it_is_no_figure(call):
    done = call("run", "f.yaml", "evaluate.metrics=[confusion]")
    assert (done.code, "`optrun show RUN --confusion` prints it" in done.err) == (2, True)
