"""`optrun sweep`, and the commands that look at sweeps and at their runs."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.api.trajectories import runs_of
from optrun.cli.arguments import Show
from optrun.cli.live.sweep_progress import sweep_progress
from optrun.cli.text import console
from optrun.registry import optimizers
from optrun.store import RunState, Status, Store
from optrun.sweeps.writer import SweepProgress
from optrun.training.memory_store import MemoryStore
from tests.cli.looking import CONFIG, call  # noqa: F401

SWEEP = (
    CONFIG
    + """\
sweep:
  parameters:
    optimizer.lr: [0.001, 0.1, 0.01]
    optimizer.amsgrad: [false, true]
  repeats: 2
  metric: {name: test_accuracy, goal: maximize}
"""
)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    (tmp_path / "s.yaml").write_text(SWEEP)
    return "s.yaml"


def test_several_problems_have_a_ranking_each_and_no_best_of_all(tmp_path, call):  # noqa: F811
    (tmp_path / "p.yaml").write_text(
        "name: two\nproblem: {name: quadratic, dim: 2}\noptimizer: SGD\nsteps: 20\nsweep:\n  parameters:\n"
        "    problem: [{name: quadratic, dim: 2}, {name: rosenbrock, dim: 2}]\n"
        "    optimizer.lr: [1.0e-4, 1.0e-3, 1.0e-5]\n"
    )
    done = call("sweep", "p.yaml", "-o", "two")
    assert "best run" not in done.err
    table = ["quadratic", ["lr", "final_loss", "run"], "rosenbrock", ["lr", "final_loss", "run"]]
    lines = [line.split() for line in done.out.splitlines() if line]
    assert [lines[0], lines[1], lines[5], lines[6]] == [[table[0]], table[1], [table[2]], table[3]]
    assert [[row[0], row[1]] for row in lines[2:5] + lines[7:10]] == [
        [place, lr] for _ in range(2) for place, lr in (("1", "0.001"), ("2", "0.0001"), ("3", "1e-05"))
    ]
    shown = call("show", "two", "--limit", "1").out
    assert "within each of 2 problems" in shown
    assert "… 4 more settings: optrun show two --limit 0" in shown
    rows = json.loads(call("show", "two", "--json", "--limit", "1").out)["table"]
    assert [row["problem"] for row in rows] == ["quadratic", "rosenbrock"]
    assert [row["setting"]["optimizer.lr"] for row in rows] == [1e-3, 1e-3]
    assert [
        row["problem"] for row in json.loads(call("sweep", "p.yaml", "-o", "two", "--json").out)["table"]
    ] == [
        *["quadratic"] * 3,
        *["rosenbrock"] * 3,
    ]
    assert "2 problems" in call("ls", ".").out
    (listed,) = json.loads(call("ls", ".", "--json").out)
    assert (listed["problems"], listed["best"]) == (2, None)
    drawn = call("curves", "two", "-k", "sensitivity").out
    assert [line.split(" on ")[1].split()[0] for line in drawn.splitlines() if " over " in line] == [
        "quadratic",
        "rosenbrock",
    ]
    headings = {"quadratic", "rosenbrock"}
    assert [line for line in call("curves", "two").out.splitlines() if line in headings] == sorted(headings)
    assert "rosenbrock" not in call("curves", "two", "--problem", "quad").out
    loaded = optrun.load_sweep("two")
    assert [row["problem"] for row in loaded.table()[::3]] == ["quadratic", "rosenbrock"]
    assert loaded._repr_html_().count("<td>rosenbrock</td>") == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("problem: [{name: quadratic}, {name: rosenbrock, dim: 2}]\n    optimizer.lr: [0.1, 0.2]", False),
        ("problem.dim: [2, 3]", True),
        ("optimizer.lr: [0.1, 0.2]", False),
    ],
)
def test_halving_says_where_it_has_nothing_to_compare(setting, words, tmp_path, call):  # noqa: F811
    (tmp_path / "h.yaml").write_text(
        "problem: {name: rosenbrock, dim: 2}\noptimizer: Adam\nsteps: 9\nsweep:\n  method: halving\n"
        f"  halving: {{min_steps: 3}}\n  parameters:\n    {setting}\n"
    )
    err = call("sweep", "h.yaml", "--dry-run").err
    assert ("each setting has a problem of its own: none ends early" in err) == words


def test_a_sweep_ranks_its_settings_and_says_what_to_type_next(file, call):  # noqa: F811
    done = call("sweep", file)
    path = optrun.sweep(file).path
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["lr", "amsgrad", "test_accuracy", "quartiles", "run"]
    assert len(lines) == 9
    assert lines[-2].startswith("without training: ")
    assert lines[-1] == str(path)
    best = optrun.sweep(file).table()[0]["first"]
    assert done.err.endswith(
        f"next: optrun show {path}:{best}\n      optrun curves {path}\n      optrun export {path} -o curves.csv\n"
    )
    assert "12/12 runs  2/2 packs  best run 0.9" in done.err
    assert "nothing is left" not in done.err
    again = call("sweep", file)
    assert (again.code, again.out) == (0, done.out)
    assert "12/12" not in again.err
    assert "\nnothing is left to run: 12 runs ended before\n" in again.err
    assert call("sweep", file, "-n").out.endswith(
        f"\n12 runs ended before: 0 left\nnothing is left to run: the results are in {path}\n"
    )
    assert sorted(each.name for each in path.iterdir()) == ["config.yaml", "results.sqlite", "summary.csv"]
    assert (path.parent / ".gitignore").exists()


def test_settings_that_a_table_does_not_show_can_be_seen(file, call):  # noqa: F811
    rates = ",".join(f"{n}e-3" for n in range(1, 24))
    done = call("sweep", "small.yaml", f"optimizer.lr={rates}", "-o", "runs/many")
    assert "\n… 3 more: optrun show runs/many --limit 0\nruns/many\n" in done.out
    rows = {
        limit: call("show", "runs/many", *limit).out.splitlines() for limit in ((), ("-n", "0"), ("-n", "2"))
    }
    assert [sum(line[:2].strip().isdecimal() for line in lines) for lines in rows.values()] == [20, 23, 2]
    assert [[line for line in lines if line[:1] == "…"] for lines in rows.values()] == [
        ["… 3 more: optrun show runs/many --limit 0"],
        [],
        ["… 21 more: optrun show runs/many --limit 0"],
    ]
    assert len(json.loads(call("show", "runs/many", "--json").out)["table"]) == 23
    assert len(json.loads(call("show", "runs/many", "--json", "-n", "2").out)["table"]) == 2
    for what in ("Adam", "runs/many:0"):
        refused = call("show", what, "--limit", "5")
        assert (refused.code, refused.out) == (2, "")
        assert "--limit is the number of settings of a sweep to show, and this is no sweep" in refused.err
    assert "… and 3 more: --json has all\n" in call("sweep", "small.yaml", f"optimizer.lr={rates}", "-n").out


def test_the_summary_has_a_row_for_every_run(file, call):  # noqa: F811
    sweep = optrun.sweep(file)
    rows = list(csv.DictReader(io.StringIO((sweep.path / "summary.csv").read_text())))
    assert [row["run"] for row in rows] == [str(run) for run in range(12)]
    assert list(rows[0])[:6] == ["run", "optimizer.lr", "optimizer.amsgrad", "seed", "status", "steps"]
    assert rows[5]["optimizer.amsgrad"] == "false"
    for row, run in zip(rows, sweep.runs, strict=True):
        assert float(row["final_loss"]) == run.summary["final_loss"]
        assert (int(row["seed"]), float(row["optimizer.lr"])) == (
            run.config["seed"],
            run.config["optimizer"]["lr"],
        )


def test_axes_come_from_the_command_line_as_well(file, call):  # noqa: F811
    done = call("sweep", "small.yaml", "optimizer.lr=1e-3,1e-2", "seed=1,2,3", "--json", "-j", "1")
    found = json.loads(done.out)
    assert (found["runs"], found["left"], found["statuses"]) == (6, 0, {"completed": 6})
    assert found["metric"] == {"name": "final_loss", "goal": "minimize"}
    assert [row["setting"] for row in found["table"]] == [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.001}]
    assert done.err == ""
    assert (
        call("sweep", "small.yaml", "optimizer.lr=1e-3,1e-2", "seed=1,2,3", "-q").out == f"{found['sweep']}\n"
    )


def test_a_dry_run_prints_the_settings_and_the_packs_and_writes_nothing(file, call, tmp_path):  # noqa: F811
    done = call("sweep", file, "--dry-run", "-j", "1")
    assert done.code == 0
    assert done.out.splitlines()[0].split() == ["run", "lr", "amsgrad"]
    assert "0–1  0.001  false\n" in done.out
    assert "12 runs: 6 settings, each with 2 seeds\n2 packs (2 × 6 lanes), -j 1\nabout " in done.out
    assert "(estimated from a short trial of 2 packs)\nwould be stored in runs/sweep-small-" in done.out
    found = json.loads(call("sweep", file, "--dry-run", "--json", "-j", "1", "--limit", "4").out)
    assert found["packs"] == [[0, 1], [2, 3]]
    assert found["estimate"].keys() == {"seconds", "bytes", "tried"}
    assert (found["seeds"], len(found["settings"])) == ([0, 1], 6)
    assert not (tmp_path / "runs").exists()


def test_a_note_tells_of_settings_that_are_equal(file, call):  # noqa: F811
    done = call("sweep", file, "-n", "optimizer.lr=1,1.0,2")
    assert "note: 2 settings are equal to earlier ones and not repeated" in done.err
    assert "8 runs: 4 settings, each with 2 seeds" in done.out
    assert "equal" not in call("sweep", file, "-n").err


def test_that_many_runs_are_made_is_told_before(file, call, monkeypatch):  # noqa: F811
    monkeypatch.setattr("optrun.cli.views.hints.MANY_RUNS", 12)
    assert call("sweep", file, "-n").err.startswith("expanding 12 runs\n")
    assert "expanding" not in call("sweep", file, "-n", "sweep.repeats=1").err
    assert call("sweep", file, "-q").err == ""


@pytest.mark.full
def test_what_no_process_can_try_is_not_estimated(call, tmp_path):  # noqa: F811
    from tests.sweeps.poison import ABORTS  # not before all optimizers that are tested have been collected

    (tmp_path / "p.yaml").write_text("problem: quadratic\noptimizer: Poison\nsteps: 3\n")
    done = call(
        "sweep", "p.yaml", "-n", f"optimizer.lr={ABORTS},{ABORTS + 0.5}", "--plugin", "tests.sweeps.poison"
    )
    assert done.code == 0
    assert "time and size could not be estimated: no trial of a pack ended" in done.out


def test_a_dry_run_tells_of_rungs(file, call, tmp_path):  # noqa: F811
    halving = (
        "sweep.method=halving",
        "sweep.trials=27",
        "sweep.halving={min_steps: 1, factor: 3}",
        "steps=28",
    )
    rates = "optimizer.lr={loguniform: [1e-4, 1]}"
    done = call("sweep", "small.yaml", rates, *halving, "-n")
    assert (
        "27 runs: 27 settings\nsettings per rung: 27 to step 1, 9 to step 3, 3 to step 9, 1 to the end\n"
        in done.out
    )
    found = json.loads(call("sweep", "small.yaml", rates, *halving, "-n", "--json").out)
    assert [(each["settings"], each["until"]) for each in found["stages"]] == [
        (27, 1),
        (9, 3),
        (3, 9),
        (1, None),
    ]
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_tells_of_generations(file, call, tmp_path):  # noqa: F811
    pytest.importorskip("optuna")
    asked = ("sweep.method=optuna", "sweep.trials=10", "sweep.optuna.batch=4", "seed=1,2")
    done = call("sweep", "small.yaml", "optimizer.lr={loguniform: [1e-4, 1]}", *asked, "-n")
    assert "20 runs: 10 settings, each with 2 seeds\ngenerations of 4, 4, 2 settings; the first" in done.out
    assert not (tmp_path / "runs").exists()


def test_a_sweep_that_has_more_to_ask_for_is_not_complete(file, call):  # noqa: F811
    pytest.importorskip("optuna")
    asked = ("sweep.method=optuna", "sweep.trials=6", "sweep.optuna.batch=3")
    command = ("sweep", "small.yaml", "optimizer.lr={loguniform: [1e-4, 1]}", *asked, "-o", "here")
    assert call(*command, "--limit", "3").err.count(", 3 left: the same command continues") == 1
    assert json.loads(call("ls", ".", "--json").out)[0]["status"] == "waiting"
    assert call("show", "here").err == "next: optrun resume here\n"
    assert call("sweep", "here/config.yaml", "-o", "here").code == 0
    shown = json.loads(call("show", "here", "--json").out)
    assert (shown["status"], shown["runs"]) == ("completed", 6)


@pytest.mark.parametrize(("method", "package"), [("sobol", "scipy.stats.qmc"), ("optuna", "optuna")])
def test_a_missing_extra_is_told_with_its_command(method, package, file, call, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, package, None)
    done = call(
        "sweep", "small.yaml", "optimizer.lr={uniform: [0, 1]}", f"sweep.method={method}", "sweep.trials=4"
    )
    assert (done.code, done.out) == (3, "")
    assert "python -m pip install '" in done.err


@pytest.mark.full
def test_pruned_settings_are_told_from_others(file, call, tmp_path):  # noqa: F811
    halving = ("sweep.method=halving", "sweep.halving={min_steps: 2, factor: 2}", "steps=6")
    command = ("sweep", "small.yaml", "optimizer.lr=1e-3,1e-2,1e-1,1,10", *halving)
    done = call(*command)
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["lr", "final_loss", "pruned", "at", "run"]
    assert [line[3:5] for line in lines[2:6]] == [["step", "4"], *[["step", "2"]] * 3]
    said = done.err[: done.err.index("next: ")].splitlines()
    assert said[-1].startswith("5/5 runs  ")
    seen = []
    optrun.sweep("small.yaml", overrides=command[2:], save=False, observe=seen.append)
    assert (seen[-1].runs, seen[-1].executed, seen[-1].of_runs) == (5, 5, 5)
    path = done.out.splitlines()[-1]
    rows = list(csv.DictReader(io.StringIO((tmp_path / path / "summary.csv").read_text())))
    assert sorted(row["status"] for row in rows) == ["completed", *["pruned"] * 4]
    worst = next(row["run"] for row in rows if row["steps"] == "2")
    assert "pruned after 2 steps: stopped at the rung of step 2: " in call("show", f"{path}:{worst}").out
    events = json.loads(call("show", f"{path}:{worst}", "--json").out)["events"]
    assert not {"rung", "plan"} & {event["kind"] for event in events}
    # What is expected of a run is nothing that a pruned one has missed.
    least = json.loads(call(*command, "--json").out)["table"][0]["median"]
    assert call(*command, f"expect={{final_loss: {{max: {least * 1.0001}}}}}").code == 0
    assert call(*command, f"expect={{final_loss: {{max: {least * 0.9}}}}}").code == 4


@pytest.mark.parametrize(("trials", "note"), [(12, "8 or 16, not 12"), (16, "")])
def test_unbalanced_points_are_noted(trials, note, file, call):  # noqa: F811
    pytest.importorskip("scipy")
    done = call(
        "sweep",
        "small.yaml",
        "optimizer.lr={uniform: [0, 1]}",
        "sweep.method=sobol",
        f"sweep.trials={trials}",
        "-n",
    )
    assert done.code == 0
    assert (f"note: Sobol' points fill a space evenly at powers of 2: {note}" in done.err) == bool(note)


@pytest.mark.full
def test_a_limit_leaves_the_rest_and_says_so(file, call):  # noqa: F811
    done = call("sweep", file, "--limit", "5", "-o", "here", "-j", "1")
    assert done.code == 0
    assert done.err.endswith(
        "5 of 12 runs ended, 7 left: the same command continues\nnext: optrun sweep s.yaml -o here -j 1\n"
    )
    assert "1 of 2" in done.out
    status = json.loads(call("ls", ".", "--json").out)[0]
    assert (status["status"], status["runs"]) == ("waiting", 12)
    assert call("ls", ".").err == "next: optrun resume here\n"
    assert "5 of 12 runs over optimizer.lr, optimizer.amsgrad, best test_accuracy" in call("ls", ".").out
    assert call("show", "here").err == "next: optrun resume here\n"
    rest = call("sweep", file, "-o", "here", "-n", "-j", "1").out
    assert "5 runs ended before: 7 left\n2 packs (1 × 4 lanes, 1 × 3 lanes), -j 1\n" in rest
    grown = call("sweep", file, "-o", "here", "-n", "-j", "1", "sweep.repeats=3").out
    assert "5 runs ended before: 13 left\n" in grown
    other = call("sweep", file, "-o", "here", "-n", "steps=9")
    refused = "here: holds other runs than this sweep: name another directory with -o\n"
    assert other.code == 2
    assert other.err.endswith(f"\n{refused}")
    again = call("resume", "here")
    assert again.code == 0
    assert "12/12 runs" in again.err
    assert all(run.status == "completed" for run in optrun.sweep(file, directory="here").runs)


def test_a_mistake_is_one_line_with_its_place_and_runs_nothing(file, call, tmp_path):  # noqa: F811
    (tmp_path / "bad.yaml").write_text(SWEEP.replace("0.001", "-1"))
    done = call("sweep", "bad.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err == "bad.yaml:9:20: optimizer.lr: must be ≥ 0 (got -1)\n"
    assert not (tmp_path / "runs").exists()
    assert call("sweep", "small.yaml").err.startswith(
        "small.yaml:1:1: nothing varies: add parameters to a sweep block"
    )
    assert call("sweep", "small.yaml", "upd=1").err.startswith("override 'upd=1': upd: unknown key")
    assert call("sweep", "nowhere.yaml").code == 2
    assert call("run", file).err.startswith("s.yaml:7:1: sweep: these are many runs: `optrun sweep s.yaml`")
    assert call("run", "bad.yaml").err == done.err
    (tmp_path / "bad.yaml").write_text(SWEEP.replace("sweep:", "sweep:\n  repeets: 3"))
    assert call("run", "bad.yaml").err.endswith("sweep.repeets: unknown key. Did you mean 'repeats'?\n")
    assert call("run", file, "sweep=null", "-q").code == 0


def test_validate_checks_sweeps(file, call, tmp_path):  # noqa: F811
    assert call("validate", file).out == "s.yaml: ok, a sweep of 12 runs\n"
    (tmp_path / "bad.yaml").write_text(SWEEP.replace("test_accuracy", "accuracy"))
    done = call("validate", "bad.yaml")
    assert done.code == 2
    assert done.err.startswith(
        "bad.yaml:12:18: sweep.metric.name: softmax_regression has no figure 'accuracy'"
    )


def test_an_expectation_that_runs_miss_is_named(file, call):  # noqa: F811
    done = call("sweep", file, "expect.final_loss.max=1e-9")
    assert done.code == 4
    assert done.err.count("expect.final_loss: ") == 5
    assert "… 12 missed expectations in all" in done.err


@pytest.mark.full
def test_a_failed_run_is_named_and_the_rest_is_complete(file, call, tmp_path):  # noqa: F811
    (tmp_path / "grumpy.py").write_text(
        "import numpy as np\nfrom optrun.optim import SGD\n\n\nclass Grumpy(SGD):\n"
        "    def step(self, closure=None):\n"
        "        if 0.1 in np.ravel(self.param_groups[0]['lr']):\n            raise RuntimeError('not this rate')\n"
        "        return super().step(closure)\n"
    )
    try:
        done = call(
            "sweep",
            "small.yaml",
            "optimizer.name=Grumpy",
            "optimizer.lr=0.1,0.001,0.002",
            "--plugin",
            "grumpy.py",
            "--junit",
            "r.xml",
        )
    finally:
        optimizers._classes.pop("grumpy", None)
        optimizers._names.pop("grumpy", None)
    assert done.code == 1
    reason = f"RuntimeError: not this rate ({tmp_path / 'grumpy.py'}:8, after step 0)"
    assert f"run 0 failed: {reason}" in done.err
    assert done.out.splitlines()[0].split() == ["lr", "final_loss", "failed", "run"]
    assert done.out.splitlines()[3].split() == ["3", "0.1", "1", "of", "1", "0"]
    _, bad, *good = cases_of("r.xml")
    assert bad.find("error").text == f"run 0: {reason}"
    assert [len(case.findall("system-out")) for case in good] == [1, 1]
    assert len(done.out.splitlines()) == 5


def test_ls_show_and_curves_know_sweeps(file, call):  # noqa: F811
    path = optrun.sweep(file).path
    listed = call("ls")
    assert listed.out.splitlines()[1].split()[:2] == [path.name, "completed"]
    assert "grid: 12 runs over optimizer.lr, optimizer.amsgrad" in listed.out
    assert "final loss" not in listed.out
    shown = call("show", path)
    assert shown.out.startswith(
        f"small: completed, 12 runs: 12 completed\n{path}\n"
        "method grid, ranked by the highest test_accuracy, the median over 2 seeds\n"
        "over optimizer.lr: 0.001, 0.1, 0.01\nover optimizer.amsgrad: false, true\n"
    )
    table = json.loads(call("show", path, "--json").out)
    assert table["table"] == optrun.sweep(file).table()
    one = call("show", f"{path.name}:7")
    assert one.out.startswith(f"small: completed after 30 steps\n{path}:7\n")
    assert json.loads(call("show", f"{path}:7", "--json").out)["config"] == optrun.sweep(file).runs[7].config
    drawn = call("curves", path)
    assert "F " in drawn.out
    assert call("curves", f"{path}:3").code == 0
    assert call("curves", "latest:3").code == 0


def test_ls_of_a_sweep_lists_its_runs(file, call):  # noqa: F811
    path = optrun.sweep(file).path
    lines = call("ls", path).out.splitlines()
    assert lines[0].split() == [
        "run",
        "status",
        "steps",
        "test_accuracy",
        "lr",
        "amsgrad",
        "seed",
    ]
    assert [line.split()[0] for line in lines[1:]] == [str(run) for run in range(12)]
    assert call("ls", "latest", "--limit", "2").err == f"next: optrun ls {path} --limit 0\n"
    assert len(call("ls", f"{path}:7").out.splitlines()) == 2
    found = json.loads(call("ls", path.name, "--json", "--status", "completed").out)
    assert [(each["run"], each["seed"]) for each in found[:2]] == [(f"{path}:0", 0), (f"{path}:1", 1)]
    assert found[11]["summary"] == optrun.sweep(file).runs[11].summary
    assert json.loads(call("ls", path, "--json", "--status", "failed").out) == []
    assert call("ls", path, "--status", "wrong").code == 2
    assert call("ls", f"{path}:12").code == 2


def test_what_is_for_one_run_says_that_a_sweep_is_many(file, call):  # noqa: F811
    path = optrun.sweep(file).path
    done = call("diff", path, path)
    assert done.code == 2
    assert f"{path}: a sweep of 12 runs" in done.err
    with pytest.raises(
        optrun.errors.StoreError, match=f"^{path}: a sweep: continue it with optrun.sweep or the command"
    ):
        optrun.resume(path)


def test_runs_of_a_sweep_are_compared_and_loaded(file, call):  # noqa: F811
    path = optrun.sweep(file).path
    assert call("diff", f"{path}:0", f"{path}:0", "--exit-code").code == 0
    assert "seed" in call("diff", f"{path}:0", f"{path}:1").out
    assert optrun.load_run(path, 5).config["optimizer"]["lr"] == 0.1
    with pytest.raises(optrun.errors.StoreError, match="name one of them, such as"):
        optrun.load_run(path)
    assert "there is no run 12: the runs are 0 … 11" in call("show", f"{path}:12").err


def test_a_sweep_is_exported_as_one_table_in_the_order_of_its_plan(file, call):  # noqa: F811
    sweep = optrun.sweep(file)
    rows = list(csv.DictReader(io.StringIO(call("export", sweep.path).out)))
    heads = ["run", "optimizer.lr", "optimizer.amsgrad", "seed", "status"]
    assert list(rows[0]) == [*heads, "step", "loss", "lr"]
    assert len(rows) == 12 * 30
    loss = np.array([float(row["loss"]) for row in rows]).reshape(12, 30)
    assert (loss == np.stack([run.curves["loss"] for run in sweep.runs])).all()
    assert [int(row["run"]) for row in rows[::30]] == list(range(12))
    alone = list(csv.DictReader(io.StringIO(call("export", f"{sweep.path}:4").out)))
    assert alone == rows[4 * 30 : 5 * 30]
    assert json.loads(call("export", f"{sweep.path}:4", "-f", "json").out)["run"] == 4


def test_a_sweep_is_exported_as_parquet_with_what_was_swept(file, call):  # noqa: F811
    pq = pytest.importorskip("pyarrow.parquet")
    sweep = optrun.sweep(file)
    assert call("export", sweep.path, "-o", "all.parquet").code == 0
    found = pq.read_table("all.parquet").to_pylist()
    rows = list(csv.DictReader(io.StringIO(call("export", sweep.path).out)))
    assert [[row[name] for name in ("run", "step", "loss", "lr")] for row in found] == [
        [int(row["run"]), int(row["step"]), float(row["loss"]), float(row["lr"])] for row in rows
    ]
    for row in found[::10]:
        config = sweep.runs[row["run"]].config["optimizer"]
        assert (row["optimizer.lr"], row["optimizer.amsgrad"]) == (config["lr"], config["amsgrad"])
    assert call("export", f"{sweep.path}:3", "-f", "parquet", "-o", "one").code == 0
    assert pq.read_table("one").column_names == list(rows[0])


def test_config_keeps_the_sweep_and_says_where_its_values_come_from(file, call, tmp_path):  # noqa: F811
    printed = call("config", file, "steps=7", "optimizer.lr=0.5,0.25")
    (tmp_path / "again.yaml").write_text(printed.out)
    again = json.loads(call("config", "again.yaml", "--json").out)
    assert again == json.loads(call("config", file, "steps=7", "optimizer.lr=0.5,0.25", "--json").out)
    assert again["sweep"]["parameters"]["optimizer.lr"] == [0.5, 0.25]
    assert again["steps"] == 7
    told = {
        each["path"]: each["origin"]
        for each in json.loads(call("config", file, "--show-origin", "--json").out)
    }
    assert told["sweep.parameters.optimizer.lr"] == "s.yaml:9:19"
    assert told["optimizer.name"] == "s.yaml:3:19"
    assert told["optimizer.beta1"] == "default"
    assert "optimizer.lr" not in told
    other = call("config", file, "--show-origin", "optimizer.name=SGD,Adam").out
    assert "beta1" not in other
    assert "momentum" not in other
    assert call("config", file, "sweep=null").out == call("config", "small.yaml", "name=small").out


def test_the_schedules_of_the_first_settings_are_drawn(file, call):  # noqa: F811
    done = call("curves", "--schedule", file)
    assert "A lr=0.001, amsgrad=false and lr=0.001, amsgrad=true\nB lr=0.1" in done.out
    assert done.err == "next: optrun sweep s.yaml\n"
    many = call("curves", "--schedule", file, "optimizer.lr={logspace: [1e-4, 1, 9]}")
    assert "the first 6 settings; 12 more are not drawn" in many.out


@pytest.mark.full
def test_a_sweep_that_has_ended_is_watched_and_resumed_as_it_is(file, call):  # noqa: F811
    path = optrun.sweep(file).path
    watched = call("watch", path)
    assert (watched.code, watched.out) == (0, call("show", path).out)
    table = call("sweep", file).out
    assert call("resume", path).out == table
    assert call("clean", "--failed", "-n").out == "no such runs in runs\n"
    assert call("clean", "--status", "completed", "-y").code == 0
    assert not path.exists()


def cases_of(report):
    return list(ElementTree.parse(report).getroot().iter("testcase"))


def test_a_report_has_a_case_for_each_setting(file, call, monkeypatch):  # noqa: F811
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    done = call("sweep", file, "expect.final_loss.max=0.5", "--junit", "r.xml", "-j", "1")
    assert done.code == 4
    whole, *settings = cases_of("r.xml")
    assert whole.get("name") == "s.yaml expect.final_loss.max=0.5"
    assert [case.get("name") for case in settings[:2]] == [
        "optimizer.lr=0.001 optimizer.amsgrad=false",
        "optimizer.lr=0.001 optimizer.amsgrad=true",
    ]
    missed = [case for case in settings if case.find("failure") is not None]
    table = {each["first"]: each for each in optrun.sweep(file).table()}
    assert 0 < len(missed) < 6
    for case, first in zip(settings, sorted(table), strict=True):
        assert f"test_accuracy {table[first]['median']:.6g}" in case.find("system-out").text
    text = missed[0].find("failure").text
    assert "override 'expect.final_loss.max=0.5': expect.final_loss: " in text
    assert "(run 0)" in text
    assert "::error title=optrun%3A expect.final_loss::" in done.err
    with open("summary.md", encoding="utf-8") as summary:
        text = summary.read()
    assert "### optrun sweep" in text
    assert text.count("expectation missed") == len(missed)


def test_an_expectation_is_named_at_its_place_or_at_the_value_that_is_swept(file, call, tmp_path):  # noqa: F811
    (tmp_path / "e.yaml").write_text(CONFIG + "expect: {final_loss: {max: 1e-9}}\nsweep: {repeats: 2}\n")
    assert "e.yaml:7:28: expect.final_loss: " in call("sweep", "e.yaml").err
    (tmp_path / "e.yaml").write_text(CONFIG + "sweep:\n  parameters: {expect.final_loss.max: [1e-9, 1e9]}\n")
    done = call("sweep", "e.yaml")
    assert done.code == 4
    assert done.err.count("expect.final_loss: ") == 1
    assert "e.yaml:8:40: expect.final_loss: " in done.err


def test_runs_that_diverge_are_results_and_are_counted(call, tmp_path):  # noqa: F811
    (tmp_path / "d.yaml").write_text("problem: quadratic\noptimizer: SGD\nsteps: 50\n")
    done = call("sweep", "d.yaml", "optimizer.lr=1e-2,1e30", "seed=0,1", "--junit", "r.xml")
    assert done.code == 0
    assert "2 of 4 runs diverged\n" in done.err
    assert "  2 diverged" in done.err
    assert "not finite" not in done.err + done.out
    assert done.out.splitlines()[0].split()[-2:] == ["diverged", "run"]
    assert done.out.splitlines()[2].split()[-4:] == ["2", "of", "2", "2–3"]
    whole, good, bad = cases_of("r.xml")
    assert "optimizer.lr=1e+30" in bad.get("name")
    assert bad.find("system-out").text == "diverged 2 of 2"
    assert (bad.find("failure"), bad.find("error")) == (None, None)
    assert whole.find("system-out").text.startswith("final_loss ")
    assert "optimizer.lr=0.01" in good.get("name")


def test_runs_that_failed_are_run_again_where_that_is_asked_for(call, tmp_path):  # noqa: F811
    (tmp_path / "f.yaml").write_text("problem: quadratic\noptimizer: SGD\nsteps: 5\n")
    command = ("sweep", "f.yaml", "optimizer.lr=1e-3,1e-2", "-o", "here")
    assert call(*command).code == 0
    with Store.open(tmp_path / "here", write=True) as store:
        store.commit(states={1: RunState(status=Status.FAILED, reason="no luck")})
    assert call(*command).code == 1
    assert "1 run ended before: 1 left" in call(*command, "--retry-failed", "-n").out
    done = call(*command, "--retry-failed")
    assert (done.code, done.err.count("no luck")) == (0, 0)
    assert json.loads(call("show", "here", "--json").out)["statuses"] == {"completed": 2}


def test_runs_that_end_at_a_target_are_said_to_be_ranked_by_how_far_they_went(file, call):  # noqa: F811
    note = "note: runs that end at stop.target are ranked by final_loss, not by the steps to the target"
    given = ["small.yaml", "optimizer.lr=0.1,0.2", "steps=60", "scheduler=null", "evaluate=null", "-j", "1"]
    assert note in call("sweep", *given, "stop.target=0.5").err
    assert note not in call("sweep", *given, "stop.target=0").err


def test_the_best_run_of_the_progress_has_come_to_its_end(file):
    seen = []
    optrun.sweep(
        {
            "problem": "rosenbrock",
            "optimizer": "Adam",
            # The loss is lowest where runs are compared, at step 4, and grows from there.
            "steps": 12,
            "record": {"every": 1},
            "sweep": {
                "method": "halving",
                "halving": {"min_steps": 4, "factor": 3},
                "parameters": {"optimizer.lr": [0.001, 0.01, 0.1]},
            },
        },
        save=False,
        observe=seen.append,
    )
    assert {each.best for each in seen if each.until is not None} == {None}
    assert seen[-1].best is not None


@pytest.mark.full
@pytest.mark.parametrize(
    "block",
    [
        "{parameters: {optimizer.lr: [0.1, 0.01], epochs: [50, 70]}}",
        "{method: halving, halving: {min_steps: 200}, parameters: {optimizer.lr: [0.1, 0.01, 0.02]}}",
        "{method: random, trials: 3, parameters: {optimizer.lr: {loguniform: [0.01, 0.1]}}}",
        "{method: halving, trials: 4, halving: {min_steps: 200}, parameters: {optimizer.lr: {uniform: [0.01, 0.1]}}}",
    ],
)
def test_smoke_tries_every_run_of_a_sweep_and_stores_nothing(block, call, tmp_path):  # noqa: F811
    config = CONFIG.replace("steps: 30\n", "" if "epochs" in block else "steps: 2000\n")
    (tmp_path / "long.yaml").write_text(f"{config}expect: {{test_accuracy: {{min: 2}}}}\nsweep: {block}\n")
    done = call("sweep", "long.yaml", "--smoke", "--json", "-j", "1")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["sweep"] is None
    assert found["statuses"] == {"completed": found["runs"]}
    assert not Path("runs").exists()
    text = call("sweep", "long.yaml", "--smoke", "-j", "1")
    assert "at most 100 steps of each run" in text.err
    assert "None" not in text.out
    assert call("sweep", "long.yaml", "--smoke", "-o", "here").code == 2
    assert not Path("here").exists()


def test_an_interrupted_smoke_has_stored_nothing_with_which_it_could_go_on(call, monkeypatch, tmp_path):  # noqa: F811
    commit = MemoryStore.commit

    def interrupted(self, **what):
        monkeypatch.setattr(MemoryStore, "commit", commit)
        signal.raise_signal(signal.SIGINT)
        commit(self, **what)

    monkeypatch.setattr(MemoryStore, "commit", interrupted)
    (tmp_path / "long.yaml").write_text(CONFIG + "sweep: {parameters: {optimizer.amsgrad: [true, false]}}\n")
    done = call("sweep", "long.yaml", "--smoke", "-j", "1")
    assert done.code == 130
    assert "left: the same command starts again, since nothing was stored\n" in done.err


def test_one_run_is_one_run(call, tmp_path):  # noqa: F811
    (tmp_path / "one.yaml").write_text(CONFIG + "sweep: {parameters: {optimizer.lr: [0.1]}}\n")
    done = call("sweep", "one.yaml", "steps=1", "-j", "1")
    assert "1/1 run  1/1 pack" in done.err
    assert "1 run:" in call("show", Path(done.out.splitlines()[-1])).out
    pytest.importorskip("matplotlib")
    assert call("plot", done.out.splitlines()[-1], "-k", "curves", "-o", "a.svg").code == 0
    assert ">small<" in Path("a.svg").read_text()  # it is called by its name where nothing tells it apart


def test_plain_progress_ends_with_the_last_state(capsys):
    now = SweepProgress(40, 100, 4, 10, 20, 10.0, 3, 1, 0.5, until=8, lanes=10)
    with sweep_progress("s", Show.PLAIN, quiet=False) as observe:
        observe(now)
        observe(replace(now, runs=41, executed=21, until=None))
        observe(replace(now, runs=99, executed=79, packs=9, seconds=20.0, until=None, lanes=1))
        observe(replace(now, runs=100, executed=80, packs=10, seconds=20.0, until=None, lanes=0))
    assert capsys.readouterr().err.splitlines() == [
        "40/100 runs  4/10 packs  to step 8  best run 0.5  3 diverged  1 failed  2 runs/s  10 lanes",
        # A rung goes as fast as it goes itself: 58 runs in 10 s.
        "99/100 runs  9/10 packs  0:00 left  best run 0.5  3 diverged  1 failed  3.95 runs/s  1 lane",
        "100/100 runs  10/10 packs  best run 0.5  3 diverged  1 failed  4 runs/s",
    ]


def test_runs_that_wait_are_told_from_those_that_run(call, tmp_path):  # noqa: F811
    (tmp_path / "f.yaml").write_text("problem: quadratic\noptimizer: SGD\nsteps: 5\n")
    assert call("sweep", "f.yaml", "seed=0,1,2,3", "-o", "here", "--limit", "1").code == 0
    assert call("show", "here").out.startswith("f: waiting, 4 runs: 1 completed, 3 left\n")
    listed = json.loads(call("ls", "here", "--status", "waiting", "--json").out)
    assert [each["run"] for each in listed] == ["here:1", "here:2", "here:3"]
    assert call("show", "here:2").out.startswith("f: waiting at step 0\n")
    assert call("curves", "here:2").code != 0
    assert call("watch", "here").code == 0


# Interrupts itself as Ctrl-C does, once the second of its packs is stored.
INTERRUPTED = """
import signal, sys
from optrun.sweeps.writer import Writer
commit, packs = Writer.commit, []

def counted(self, *what):
    commit(self, *what)
    packs.append(what)
    if len(packs) == 2:
        signal.raise_signal(signal.SIGINT)

Writer.commit = counted
from optrun.cli.app import main
if __name__ == "__main__":
    main()
"""


def test_failed_runs_of_a_sweep_are_counted_and_found(call):  # noqa: F811
    good, bad = {"final_loss": 1.0}, {"final_loss": None}
    ends = [(Status.COMPLETED, good), (Status.FAILED, bad), (Status.DIVERGED, bad), (Status.COMPLETED, good)]
    for name, states in (("some", ends), ("none", ends[:1] + ends[2:])):
        runs = [({"name": name}, run) for run in range(len(states))]
        with Store.create(
            Path("runs"), name, config_yaml="", directory=Path("runs") / name, runs=runs
        ) as store:
            settings = [{"optimizer.lr": lr} for lr in range(len(states))]
            metric = {"name": "final_loss", "goal": "minimize"}
            store.log("plan", settings=settings, repeats=1, metric=metric, method="random")
            reasons = {Status.FAILED: "no luck"}
            store.commit(
                states={
                    run: RunState(status=status, summary=summary, reason=reasons.get(status, ""))
                    for run, (status, summary) in enumerate(states)
                }
            )
    lines = call("ls").out.splitlines()
    assert "random: 4 runs (1 failed, 1 diverged) over optimizer.lr" in next(x for x in lines if "some" in x)
    assert "random: 3 runs (1 diverged) over" in next(x for x in lines if "none" in x)
    assert [each["path"] for each in json.loads(call("ls", "--json", "-s", "failed").out)] == ["runs/some"]
    assert call("curves", "runs/some:1").err == (
        "runs/some:1: no curves: it failed before its first row: no luck\n"
    )
    cleaned = call("clean", "--failed", "-n").out
    assert "some" in cleaned
    assert "none" not in cleaned


def test_a_killed_sweep_says_what_is_left_and_what_to_type(call):  # noqa: F811
    runs = [({"name": "gone"}, run) for run in range(3)]
    with Store.create(Path("runs"), "gone", config_yaml="", directory=Path("runs/gone"), runs=runs) as store:
        metric = {"name": "final_loss", "goal": "minimize"}
        settings = [{"optimizer.lr": lr} for lr in (1, 2, 3)]
        store.log("plan", settings=settings, repeats=1, metric=metric, plugins=["a b.py"])
        store.commit()
        assert "gone: running, 3 runs: 3 left (3 running)\n" in call("show", "runs/gone").out
    done = call("show", "runs/gone")
    assert done.out.startswith("gone: killed, 3 runs: 3 left\n")
    assert "quartiles" not in done.out
    assert " 1  " not in done.out
    assert done.err == "next: optrun resume runs/gone --plugin 'a b.py'\n"
    assert json.loads(call("show", "runs/gone", "--json").out)["statuses"] == {"killed": 3}
    assert call("ls").err == "next: optrun resume runs/gone --plugin 'a b.py'\n"


@pytest.mark.full
def test_a_sweep_that_needs_a_plugin_names_it(call, tmp_path):  # noqa: F811
    (tmp_path / "small.yaml").write_text(CONFIG)
    (tmp_path / "mine.py").write_text("from optrun.optim import SGD\n\n\nclass Mine(SGD):\n    pass\n")
    try:
        axes = ("optimizer={name: Mine}", "optimizer.lr=0.1,0.2")
        done = call("sweep", "small.yaml", *axes, "--plugin", "mine.py", "-o", "here", "--limit", "1")
        assert done.err.endswith(" -o here --plugin mine.py\n")
    finally:
        optimizers._classes.pop("mine", None)
        optimizers._names.pop("mine", None)
    done = call("resume", "here", "-j", "1")
    assert done.code == 2
    assert "unknown optimizer 'Mine'" in done.err
    assert done.err.endswith("it was started with plugins: optrun resume here --plugin mine.py\n")


def test_a_sweep_is_resumed_on_the_executor_that_is_named(file, call):  # noqa: F811
    assert call("sweep", file, "-o", "here", "--limit", "1").code == 0
    for given, said in (
        (("-x", "dasc"), "unknown executor 'dasc': local or dask"),
        (("--address", "tcp://a:8786"), "an address is that of a Dask scheduler"),
    ):
        done = call("resume", "here", *given)
        assert (done.code, done.err.startswith(said)) == (2, True)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("resume", "{}:3"), "run 3 of a sweep, which is taken as a whole: optrun resume {}\n"),
        (("watch", "{}:3"), "run 3 of a sweep, which is taken as a whole: optrun watch {}\n"),
        (("show", "{}:abc"), "{}: there is no run 'abc': the runs are 0 … 11\n"),
        (("show", "{}:-1"), "{}: there is no run '-1': the runs are 0 … 11\n"),
        (("show", "{}:"), "{}: there is no run '': the runs are 0 … 11\n"),
        (("ls", "{}:abc"), "{}: there is no run 'abc': the runs are 0 … 11\n"),
        (("curves", "{}:x"), "{}: there is no run 'x': the runs are 0 … 11\n"),
    ],
)
def test_a_run_that_is_named_wrongly_is_answered(command, said, file, call):  # noqa: F811
    path = optrun.sweep(file).path
    done = call(*(each.format(path) for each in command))
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(said.format(path))


def test_without_a_result_there_is_no_table(file, call, monkeypatch):  # noqa: F811
    monkeypatch.setattr(import_module("optrun.sweeps.run")._Course, "_execute", lambda *_: False)
    done = call("sweep", file, "-o", "here")
    assert done.out == "here\n"
    assert "0 of 12 runs ended, 12 left" in done.err


def test_an_interruption_tells_which_runs_go_on_from_where(file, call, monkeypatch):  # noqa: F811
    commit = Store.commit

    def interrupt(self, **what):
        commit(self, **what)
        if what.get("checkpoints"):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", interrupt)
        done = call("sweep", file, "steps=1000", "checkpoint.every=2", "-o", "here", "-j", "1")
    assert done.code == 128 + signal.SIGINT
    with Store.open(Path("here")) as store:
        begun = [state.steps for state in store.states() if state.steps]
    assert 0 < len(begun) < 12
    kept = f"12 left, of which {len(begun)} go on from step {begun[0]:,}"
    assert f"interrupted: 0 of 12 runs ended, {kept}: the same command continues\n" in done.err
    assert f"12 runs: {kept}\n" in call("show", "here").out


@pytest.mark.full
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(jobs, file, call, tmp_path):  # noqa: F811
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    axes = [
        "optimizer.lr=1e-3,1e-2",
        "optimizer.amsgrad=true,false",
        "dtype=float32,float64",
        "steps=400,500",
    ]
    command = ["interrupted.py", "sweep", "small.yaml", *axes, "-o", "here", "-j", jobs]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "Traceback" not in done.stderr
    with Store.open(tmp_path / "here") as store:
        ended = sum(state.status.final for state in store.states())
    assert 4 <= ended < 16
    (said,) = re.findall(
        r"interrupted: (\d+ of 16 runs ended, \d+ left).*: the same command continues", done.stderr
    )
    assert said == f"{ended} of 16 runs ended, {16 - ended} left"
    assert call("sweep", "small.yaml", *axes, "-o", "here", "-j", "1").code == 0
    whole = optrun.sweep("small.yaml", overrides=axes)
    with Store.open(tmp_path / "here") as store, Store.open(whole.path) as other:
        assert store.results_digest() == other.results_digest()


def test_a_sensitivity_is_drawn_in_the_terminal_and_plotted_by_default(file, call):  # noqa: F811
    path = optrun.sweep(file).path
    done = call("curves", path, "--kind", "sensitivity")
    assert done.out.startswith("small: test_accuracy over optimizer.lr\n")
    assert "A amsgrad=" in done.out
    assert "median and quartiles of 2 seeds\n★ " in done.out
    assert done.err in ("", f"next: optrun plot {path} -o sensitivity.png\n")  # where there is no Matplotlib
    assert call("curves", path, "--over", "lr", "-m", "final_loss").out.startswith("small: final_loss over")
    assert "the best 6 settings, each the median over its seeds" in call("curves", path).out


@pytest.mark.parametrize("kind", ["sensitivity", "curves"])
def test_a_picture_is_offered_only_where_it_can_be_drawn(kind, file, call, monkeypatch):  # noqa: F811
    path = optrun.sweep(file).path
    for found, said in ((object(), f"next: optrun plot {path} "), (None, "")):
        monkeypatch.setattr(console, "find_spec", lambda _, found=found: found)
        err = call("curves", path, "--kind", kind).err
        assert err.startswith(said)
        assert bool(err) is bool(said)


def test_what_a_picture_of_a_sweep_shows_is_what_was_asked_for(file, call):  # noqa: F811
    pytest.importorskip("matplotlib")
    path = optrun.sweep(file).path
    for arguments, text in (
        ((), "★"),
        (("--kind", "curves"), "learning rate"),
        (("-m", "loss"), "learning rate"),
        (("--over", "optimizer.lr", "-m", "train_loss"), "train_loss"),
        (("--smooth", "3", "--title", "of mine"), "step (loss: running mean over 3 recorded steps)"),
        (("--title", "of mine", "--size", "5x4", "--style", "talk", "--dpi", "80"), "of mine"),
    ):
        assert call("plot", path, "-o", "x.svg", *arguments).out == "x.svg\n"
        with open("x.svg", encoding="utf-8") as picture:
            assert text in picture.read()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--over", "optimizer.lt"), "Did you mean 'optimizer.lr'"),
        (("--over", "lr", "-m", "accuracy"), "Did you mean 'test_accuracy'"),
        (("--over", "lr", "--kind", "curves"), "--over is for --kind sensitivity or heat, not for curves"),
        (("--over", "lr", "--smooth", "3"), "--smooth is for --kind curves or best, not for sensitivity"),
        (("--size", "6x"), "size '6x': it is WIDTHxHEIGHT in inches"),
        (("--dpi", "0"), "dpi 0: it is a whole number"),
        (("nowhere", "--over", "lr"), "a sensitivity plot needs one sweep, not 2 runs"),
    ],
)
def test_a_sensitivity_that_there_is_not_is_refused(arguments, said, file, call):  # noqa: F811
    path = optrun.sweep(file).path
    done = call("plot", path, *arguments, "-o", "x.png")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "needs a sweep" in call("curves", f"{path}:3", "--over", "lr").err


@pytest.mark.parametrize(
    ("metric", "goal", "edge"), [("test_accuracy", "maximize", "↓"), ("final_loss", "minimize", "↑")]
)
def test_what_is_far_worse_is_marked_at_the_edge_and_explained(metric, goal, edge, call):  # noqa: F811
    figures = [0.9, 0.91, 0.92, 0.1] if goal == "maximize" else [0.1, 0.11, 0.12, 90.0]
    runs = [({"name": "edge"}, run) for run in range(4)]
    where = Path("runs/edge")
    with Store.create(Path("runs"), "edge", config_yaml="", directory=where, runs=runs) as store:
        settings = [{"optimizer.lr": lr} for lr in (1, 2, 3, 4)]
        store.log("plan", settings=settings, repeats=1, metric={"name": metric, "goal": goal})
        store.commit(
            states={
                run: RunState(status=Status.COMPLETED, summary={metric: figure})
                for run, figure in enumerate(figures)
            }
        )
    done = call("curves", "runs/edge", "--kind", "sensitivity", "--linear")
    assert f"{edge} far worse, {'below' if goal == 'maximize' else 'above'} the plot" in done.out
    assert done.out.count(edge) == 2
    lines = [line for line in done.out.splitlines() if edge in line]
    assert (done.out.splitlines().index(lines[0]) == 1) is (goal == "minimize")


def test_a_sensitivity_tells_what_was_pruned_and_what_is_left_out(call, tmp_path):  # noqa: F811
    (tmp_path / "small.yaml").write_text(CONFIG)
    block = (
        "{method: halving, halving: {min_steps: 10, factor: 2}, "
        "spaces: [{parameters: {optimizer.lr: [1e-3, 1e-2, 1e-1]}}, {parameters: {optimizer: [Adadelta]}}]}"
    )
    assert call("sweep", "small.yaml", f"sweep={block}", "-o", "here").code == 0
    done = call("curves", "here", "--over", "lr")
    assert done.out.count("○") == 2 + 1
    assert "○ pruned (stopped earlier)" in done.out
    assert done.err.startswith("note: 1 setting without optimizer.lr left out\n")


def test_labels_of_settings_can_be_typed_and_are_unique(call, tmp_path):  # noqa: F811
    (tmp_path / "b.yaml").write_text("problem: rosenbrock\noptimizer: Adam\nsteps: 2\n")
    values = "0.999999,0.9999999,0.99999999"
    call("sweep", "b.yaml", f"optimizer.beta2={values}", "steps=1,2", "-o", "s", "--junit", "r.xml")
    names = [case.get("name") for case in cases_of("r.xml")[1:]]
    assert names == [
        f"optimizer.beta2={beta} steps={steps}" for beta in values.split(",") for steps in (1, 2)
    ]
    heading = Path("s/summary.csv").read_text().splitlines()[0].split(",")
    assert heading == ["run", "optimizer.beta2", "steps", "seed", "status", "steps_made", "final_loss"]


def test_a_file_of_no_known_format_is_not_exported(call, tmp_path):  # noqa: F811
    (tmp_path / "b.yaml").write_text("problem: rosenbrock\noptimizer: Adam\nsteps: 2\n")
    call("run", "b.yaml", "-o", "r")
    done = call("export", "r", "-o", "x.foo")
    assert (done.code, Path("x.foo").exists()) == (2, False)
    assert "--format csv" in done.err
    assert call("export", "r", "-o", "x.foo", "--format", "csv").code == 0


def test_ways_from_several_starts_are_those_of_the_best_of_each(call, tmp_path):  # noqa: F811
    pytest.importorskip("matplotlib")
    (tmp_path / "starts.yaml").write_text(
        "problem: rosenbrock\noptimizer: {name: SGD, lr: 1e-4}\nsteps: 3\nrecord: {params: {every: 1}}\n"
        "sweep: {parameters: {problem.start: [[0, 0], [1, 2]], optimizer.lr: [1e-5, 1e-4, 2e-4, 3e-4]}}\n"
    )
    assert call("sweep", "starts.yaml", "-o", "starts", "-q").code == 0
    said = "note: starts: the best 6 settings are drawn, 2 are left out\n"
    assert call("plot", "starts", "-k", "trajectory", "-o", "ways.svg") == (0, "ways.svg\n", said)
    sweep = optrun.load_sweep("starts")
    losses = np.array([run.summary["final_loss"] for run in sweep.runs]).reshape(2, 4)
    best = [(start, rate) for rank in np.argsort(losses).T[:3] for start, rate in enumerate(rank.tolist())]
    drawn, others = runs_of(sweep)
    expected = [sweep.runs[4 * start + rate].setting for start, rate in best]
    assert ([run.setting for run in drawn], others) == (expected, 2)
    of_one = call("plot", "starts", "-k", "trajectory", "-o", "ways.svg", "--problem", "[1.0, 2.0]")
    assert of_one == (0, "ways.svg\n", "")
    optrun.sweep("starts.yaml", overrides=["problem.name=rosenbrock,himmelblau"], directory="two")
    refused = call("plot", "two", "-k", "trajectory", "-o", "two.svg")
    assert refused.err.endswith("two: rosenbrock and himmelblau; --problem chooses one of a sweep\n")
