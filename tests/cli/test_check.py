"""The command `check`: lines, verdicts, exit codes, and what CI servers read."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

import optrun
from tests.cli.looking import call

__all__ = ["call"]

STUDY = {
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": "SGD",
    "steps": 20,
    "sweep": {"repeats": 3, "parameters": {"optimizer.name": ["SGD", "Adam"], "optimizer.lr": [1e-2, 1e-1]}},
}


@pytest.fixture
def sweeps():
    for name, steps in (("old", 20), ("longer", 30), ("shorter", 10)):
        optrun.sweep(STUDY, directory=name, overrides=[f"steps={steps}"])


def test_what_is_no_worse_passes(call, sweeps):
    done = call("check", "longer", "--baseline", "old")
    assert done.code == 0
    title, *lines, verdict = done.out.splitlines()
    assert title.split() == ["problem", "optimizer", "baseline", "new", "difference", "n"]
    assert [line.split()[:3] for line in lines] == [
        ["ok", "softmax_regression", "SGD"],
        ["ok", "softmax_regression", "Adam"],
    ]
    assert verdict == "passed: final_loss is not worse than in old in any of 2 cells"


def test_what_is_worse_ends_with_4_and_is_in_the_reports(call, sweeps, monkeypatch):
    done = call("check", "shorter", "--baseline", "old", "--tolerance", "1%", "--junit", "report.xml")
    assert done.code == 4
    assert done.out.splitlines()[-1] == (
        "failed: final_loss is worse than in old by more than 1% in 2 of 2 cells"
    )
    cases = list(ElementTree.parse("report.xml").getroot().iter("testcase"))
    assert [case.get("name") for case in cases] == [
        "shorter",
        "softmax_regression SGD",
        "softmax_regression Adam",
    ]
    assert all(case.find("failure") is not None for case in cases)
    line = optrun.check("shorter", baseline="old").lines[0]
    difference = f"{line.result:.6g} (by {line.difference:+.3g})"
    message = f"final_loss is worse: {difference}, the baseline has {line.baseline:.6g}"
    assert cases[1].find("failure").get("message") == message
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    done = call("check", "shorter", "--baseline", "old")
    assert f"::error title=optrun::softmax_regression SGD: {message}" in done.err
    assert done.err.count("::error") == 2


def test_a_large_tolerance_passes(call, sweeps):
    assert call("check", "shorter", "--baseline", "old", "--tolerance", "10").code == 0


def test_json_holds_what_the_guide_says(call, sweeps):
    done = call("check", "shorter", "--baseline", "old", "--json")
    assert done.code == 4
    found = json.loads(done.out)
    assert found == optrun.check("shorter", baseline="old").to_dict()
    assert {"passed", "metric", "goal", "by", "baseline", "tolerance", "p", "lines", "verdict"} <= {*found}
    assert {"problem", "value", "outcome", "baseline", "result", "difference", "n", "p", "note"} <= {
        *found["lines"][0]
    }


def test_runs_of_sweeps_are_checked_by_their_numbers(call, sweeps):
    assert call("check", "old:0", "--baseline", "old:0").out.splitlines()[-1] == (
        "passed: final_loss is not worse than in old:0"
    )
    done = call("check", "shorter:0", "--baseline", "old:0", "--junit", "report.xml")
    assert done.code == 4
    (case,) = ElementTree.parse("report.xml").getroot().iter("testcase")
    assert re.fullmatch(
        r"final_loss is worse: .* \(by \+.*\), the baseline has .*", case.find("failure").get("message")
    )


def test_a_target_is_checked(call, sweeps):
    done = call("check", "old", "--target", "10")
    assert done.code == 0
    assert done.out.splitlines()[0].split() == ["problem", "optimizer", "median", "to", "10", "n"]
    assert (
        done.out.splitlines()[-1] == "passed: the median of final_loss reaches the target 10 in 2 of 2 cells"
    )
    done = call("check", "old", "--target", "0", "--p", "0.01", "--sigma", "0.5", "--junit", "report.xml")
    assert done.code == 4
    assert done.out.splitlines()[1].endswith("normal test")
    line = optrun.check("old", target=0, p=0.01, sigma=0.5).lines[0]
    case = list(ElementTree.parse("report.xml").getroot().iter("testcase"))[1]
    assert case.find("failure").get("message") == (
        f"final_loss misses 0: {line.result:.6g} (by {line.difference:+.3g}), p = {line.p:.2g} in the normal test"
    )


def test_steps_to_a_target_that_runs_miss_are_the_worst(call):
    for name, target in (("old", 10.0), ("new", 1e-9)):
        optrun.sweep(STUDY, directory=name, overrides=[f"stop.target={target}"])
    done = call("check", "new", "--baseline", "old", "--metric", "steps_to_target", "--by", "problem.name")
    assert done.code == 4
    assert done.out.splitlines()[1].split()[-6:] == ["0", "missed", "3", "3", "newly", "missed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["old", "--baseline", "old", "--tolerance", "x"], "tolerance 'x': it is a number"),
        (["old", "--baseline", "old", "--p", "0.05"], "3 seeds in common can never have p"),
        (["old", "--baseline", "old:0"], "a sweep to a sweep"),
        (["old:0", "--baseline", "old:1", "--by", "optimizer.lr"], "by: a single run"),
        (["old", "--baseline", "old", "-m", "final_los"], "Did you mean 'final_loss'"),
        (["old", "--baseline", "nothing"], "no such run"),
    ],
)
def test_mistakes_end_with_2(call, sweeps, arguments, message):
    done = call("check", *arguments)
    assert done.code == 2
    assert message in done.err
