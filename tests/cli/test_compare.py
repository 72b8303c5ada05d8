"""The commands `compare`, with its tables in other forms, and `noise`."""

import csv
import io
import json
import re

import pytest

import optrun
from tests.cli.looking import call

__all__ = ["call"]

STUDY = {
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": "SGD",
    "steps": 20,
    "sweep": {
        "repeats": 6,
        "parameters": {
            "problem.data": ["iris", "wine"],
            "optimizer.name": ["SGD", "Adam_W"],
            "optimizer.lr": [1e-3, 1e-2],
        },
    },
}


@pytest.fixture
def study():
    return optrun.sweep(STUDY, directory="runs/100%_study").path


def test_the_text_has_verdict_cautions_and_tables(call, study):
    done = call("compare", study)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("Over 2 problems, by final_loss (lower is better), ")
    assert lines[1].startswith("careful: the settings were selected on the seeds that are reported")
    assert any(line.startswith("softmax_regression data=wine (noise over seeds: ") for line in lines)
    assert re.search(r"^AdamW +0\.01 +6  ", done.out, re.M)
    assert max(map(len, done.out.splitlines())) == max(len(line.rstrip()) for line in done.out.splitlines())


def test_json_has_what_the_guide_says(call, study):
    found = json.loads(call("compare", study, "--json", "--baseline", "sgd").out)
    assert {*found} == {
        "verdict", "metric", "goal", "by", "baseline", "problems", "ranking", "critical_difference", "warnings"
    }  # fmt: skip
    assert (found["baseline"], found["by"], found["goal"]) == ("SGD", "optimizer.name", "minimize")
    row = found["problems"][0]["rows"][0]
    assert {"value", "setting", "n", "median", "iqm", "low", "high", "difference", "diverged", "edge"} <= {
        *row
    }
    assert {"at_defaults", "lr_sensitivity", "speedup", "steps"} <= {*row}
    assert {*row["difference"]} == {"median", "low", "high", "p", "n", "better"}
    assert {*found["ranking"][0]} == {
        "value", "score", "low", "high", "average_rank", "profile_score", "probability_of_improvement",
        "lr_sensitivity",
    }  # fmt: skip


def test_csv_has_a_row_for_each_problem_and_value(call, study):
    rows = list(csv.DictReader(io.StringIO(call("compare", study, "--csv").out)))
    assert [(row["problem"][-4:], row["value"]) for row in rows].count(("iris", "AdamW")) == 1
    assert len(rows) == 4
    found = optrun.compare(study)
    assert [float(row["median"]) for row in rows] == [row.median for of in found.problems for row in of.rows]
    scores = {rank.value: rank.score for rank in found.ranking}
    assert [float(row["score"]) for row in rows] == [scores[row["value"]] for row in rows]
    assert {(row["metric"], row["goal"], row["baseline"]) for row in rows} == {
        ("final_loss", "minimize", "AdamW")
    }


def test_markdown_and_latex_are_tables(call, study):
    markdown = call("compare", study, "--md").out
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert re.fullmatch(r"\|(?:-+:?\|)+|\|(?:[-:]+\|)+", table[1])
    assert len({line.count("|") for line in table[:4]}) == 1
    latex = call("compare", study, "--latex").out
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 3
    assert r"95 \% interval" in latex
    assert f"\n% {optrun.compare(study).verdict}\n% careful: " in latex
    assert not re.search(
        r"(?<!\\)[%_#]", "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "optimizer.nam"], "optimizer.nam"),
        (["--baseline", "Lion"], "baseline 'Lion': it is not among SGD, AdamW"),
        (["--metric", "accuracy"], "no run has the metric accuracy"),
        (["--csv", "--md"], "--csv and --md: choose one"),
        (["--by", "lr"], "Did you mean 'optimizer.lr'?"),
        (["--by", "scheduler.name,lr"], "scheduler.name: no run of the sweep has it"),
        (["--by", ""], "by is empty: give a path of the config, such as optimizer.name"),
    ],
)
def test_what_cannot_be_done_is_said(call, study, options, said):
    done = call("compare", study, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_sweeps_may_be_in_a_list_and_other_things_are_refused(study):
    found = optrun.compare([study], by="optimizer.lr", baseline=0.01)
    assert found.baseline == "0.01"
    for wrong, said in (
        ((3,), "takes sweeps, or their directories, not int"),
        (({},), "not dict"),
        (([],), "needs a sweep"),
        ((optrun.load_sweep(study).runs[0],), "not a single run"),
    ):
        with pytest.raises(optrun.errors.ConfigError, match=said):
            optrun.compare(*wrong)
    with pytest.raises(optrun.errors.ConfigError, match="by must be a string, not 3"):
        optrun.compare(study, by=3)


def test_a_single_run_is_no_sweep(call, small):
    assert "a single run" in call("compare", small()).err


NOISY = """\
problem: {name: quadratic, noise: 0.5}
optimizer: {name: SGD, lr: 1e-3}
steps: 20
"""


def test_noise_names_the_smallest_difference(call, tmp_path):
    config = tmp_path / "noisy.yaml"
    config.write_text(NOISY)
    done = call("noise", config, "-n", "8")
    assert done.out.startswith("final_loss over 8 seeds: median ")
    assert re.search(r"^ +5  none", done.out, re.M)
    assert re.search(r"^ +10  [\d.]+ +[\d.]+$", done.out, re.M)
    found = json.loads(call("noise", config, "-n", "8", "--json").out)
    assert found == {**optrun.noise(config, seeds=8).to_dict(), "detectable": found["detectable"]}
    assert call("noise", config, "problem.noise=0").out.endswith("the seed changes nothing\n")
    assert call("noise", config, "-m", "final_los").code == 2


def test_csv_has_parts_as_json(call):
    part = {"name": "StepLR", "step_size": 3}
    config = {
        "problem": "rosenbrock",
        "steps": 3,
        "sweep": {"parameters": {"optimizer.name": ["Adam", "SGD"], "scheduler": [None, part]}},
    }
    optrun.sweep(config, directory="parts")
    rows = list(
        csv.DictReader(
            io.StringIO(call("compare", "parts", "--by", "optimizer.name,scheduler.name", "--csv").out)
        )
    )
    found = {json.dumps(json.loads(row["scheduler"])) for row in rows}
    assert found == {json.dumps(each) for each in (None, part)}
