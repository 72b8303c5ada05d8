"""What a whole sweep is expected to reach: judged when it is through, and refused where it cannot be."""

import json
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import optrun
from tests.cli.looking import call

__all__ = ["call"]

CONFIG = """\
problem: {name: softmax_regression, data: iris, batch_size: 32}
optimizer: SGD
steps: 30
sweep:
  parameters:
    optimizer.name: [SGD, Adam]
    optimizer.lr: [0.01, 0.1]
  repeats: 3
"""
pytestmark = pytest.mark.usefixtures("file")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "s.yaml").write_text(CONFIG)


def medians(sweep, figure="test_loss"):
    """Return the median of a figure of the best setting of each optimizer, best by the median of the final loss."""
    found = {}
    for name in ("SGD", "Adam"):
        runs = [run for run in sweep.runs if run.config["optimizer"]["name"] == name]
        groups = [runs[:3], runs[3:]]
        best = min(groups, key=lambda group: np.median([run.summary["final_loss"] for run in group]))
        found[name] = float(np.median([run.summary[figure] for run in best]))
    return found


def expecting(tmp_path, text):
    (tmp_path / "s.yaml").write_text(f"{CONFIG}expect:\n  sweep: {text}\n")


def test_bounds_are_those_of_the_median_over_seeds(call, tmp_path):
    of = medians(optrun.sweep("s.yaml", save=False))
    assert of["Adam"] < of["SGD"]
    best, worst = (
        f"{{test_loss: {{{bound}: {of[name]!r}}}}}" for bound, name in (("max", "Adam"), ("min", "SGD"))
    )
    text = f"{{best: {best}, by: optimizer.name, SGD: {worst}}}"
    expecting(tmp_path, text)
    done = call("sweep", "s.yaml", "-q")
    assert (done.code, done.err) == (0, "")
    limit = math.nextafter(of["Adam"], 0)
    done = call("sweep", "s.yaml", "-q", f"expect.sweep.best.test_loss.max={limit!r}", "--junit", "r.xml")
    assert done.code == 4
    assert "expect.sweep.best.test_loss.max: " in done.err
    assert "is above the maximum" in done.err
    assert done.err.endswith("(the median of 3 seeds on softmax_regression)\n")
    cases = [
        each
        for each in ElementTree.parse("r.xml").iter("testcase")
        if each.get("classname") == "sweep expectation"
    ]
    assert [(each.get("name"), each.find("failure") is not None) for each in cases] == [
        ("best: softmax_regression", True),
        ("SGD: softmax_regression", False),
    ]
    assert f"test_loss {of['SGD']:.6g}" in cases[1].find("system-out").text


def test_a_miss_has_the_place_of_its_bound_and_is_in_the_json(call, tmp_path, monkeypatch):
    expecting(tmp_path, "{best: {test_accuracy: {min: 1.5}}}")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = call("sweep", "s.yaml", "--json")
    assert done.code == 4
    (said,) = json.loads(done.out)["expect"]
    assert said.startswith("s.yaml:10:39: expect.sweep.best.test_accuracy.min: ")
    (annotation,) = (line for line in done.err.splitlines() if line.startswith("::error"))
    assert "title=optrun%3A expect.sweep.best.test_accuracy.min" in annotation
    assert "file=s.yaml,line=10,col=39" in annotation


def test_what_the_sweep_misses_is_not_lost_among_what_its_runs_miss(call, tmp_path, monkeypatch):
    expecting(tmp_path, "{best: {test_accuracy: {min: 1.5}}}\n  test_accuracy: {min: 1.5}")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    said = call("sweep", "s.yaml", "-q").err.splitlines()
    annotated = [line for line in said if line.startswith("::")]
    assert "… 13 missed expectations in all" in said
    assert ["expect.sweep.best" in line for line in said[:6]] == [True, *[False] * 5]
    assert ["expect.sweep.best" in line for line in annotated] == [True, *[False] * 9]


def test_it_is_judged_when_the_sweep_is_through_and_again_by_resume(call, tmp_path):
    expecting(tmp_path, "{best: {test_accuracy: {min: 1.5}}}")
    assert call("sweep", "s.yaml", "-o", "x", "--limit", "3", "-q").code == 0
    done = call("resume", "x", "-q")
    assert done.code == 4
    assert "expect.sweep.best.test_accuracy.min" in done.err
    assert call("sweep", "s.yaml", "--smoke", "-q").code == 0


def test_the_confirmation_is_judged_where_there_is_one(call, tmp_path):
    expecting(tmp_path, "{best: {test_loss: {max: 100}}}")
    command = ("sweep", "s.yaml", "-o", "x", "-q", "sweep.confirm.seeds=5")
    assert call(*command).code == 0
    losses = [
        run.summary["test_loss"]
        for run in optrun.load_sweep("x").confirmed.runs
        if run.config["optimizer"]["name"] == "Adam"
    ]
    assert len(losses) == 5
    middle = sorted(losses)[2]
    assert call(*command, f"expect.sweep.best.test_loss.max={middle!r}").code == 0
    done = call(*command, f"expect.sweep.best.test_loss.max={math.nextafter(middle, 0)!r}")
    assert done.code == 4
    assert "(the median of 5 seeds on softmax_regression)" in done.err


def test_what_diverged_is_missed(call, tmp_path):
    expecting(tmp_path, "{by: optimizer.name, Adam: {final_loss: {max: 100}}, SGD: {final_loss: {max: 100}}}")
    done = call("sweep", "s.yaml", "-q", "stop.divergence=1e-9")
    assert done.code == 4
    assert done.err.count("is not finite, the maximum 100 is expected") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{by: optimizer.name, Adm: {test_loss: {max: 1}}}",
            "s.yaml:10:31: expect.sweep.Adm: no setting has this optimizer.name. Did you mean 'Adam'?",
        ),
        (
            "{by: optimizer.nam, Adam: {test_loss: {max: 1}}}",
            "s.yaml:10:15: expect.sweep.by: no setting has optimizer.nam",
        ),
        (
            "{best: {test_f1: {max: 1}}}",
            "s.yaml:10:18: expect.sweep.best.test_f1: softmax_regression has no figure 'test_f1': final_loss, ",
        ),
    ],
)
@pytest.mark.parametrize("command", [["validate"], ["sweep"], ["sweep", "-n"]], ids=" ".join)
def test_what_cannot_be_is_refused_before_anything_runs(call, tmp_path, command, text, message):
    expecting(tmp_path, text)
    done = call(*command, "s.yaml")
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "runs").exists()


def test_a_figure_of_one_problem_is_expected_of_its_value_alone(call, tmp_path):
    text = "{by: problem.name, softmax_regression: {test_accuracy: {min: 0}}, quadratic: {final_loss: {max: 100}}}"
    (tmp_path / "s.yaml").write_text(
        "problem: quadratic\noptimizer: Adam\nsteps: 3\n"
        "sweep: {include: [{problem: {name: softmax_regression, data: iris}}, {problem: {name: quadratic, dim: 3}}]}\n"
        f"expect: {{sweep: {text}}}\n"
    )
    assert call("validate", "s.yaml").code == 0
    assert call("validate", "s.yaml", "expect.sweep.quadratic.test_accuracy.min=0").code == 2
    assert call("sweep", "s.yaml", "-q").code == 0
