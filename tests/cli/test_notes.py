"""What was inferred and what has no effect is said on stderr of run, dry run and sweep, and by show."""

import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from optrun.training import memory
from tests.cli.looking import call  # noqa: F401

TABLE = ",a,b,y\n" + "".join(f"{i},{i % 7 / 2},{i % 5},{i % 2}\n" for i in range(20))
CONFIG = """\
problem: {name: mlp, data: d.csv, hidden: [2]}
optimizer: {name: SGD, lr: 0.1}
scheduler: {name: CyclicLR, base_lr: 0.001, max_lr: 0.01, step_size_up: 3, cycle_momentum: false}
steps: 6
"""
LINE = (
    "data d.csv: 20 samples (16 train, 4 test) of 2 features a, b (header), target 'y': "
    "2 classes 10 + 10 (split by class)"
)
INDEX = "note: column 1 has no name and numbers the rows: it is left out, index: false keeps it"
RATE = "note: optimizer.lr has no effect: CyclicLR sets lr itself"


@pytest.fixture
def config(tmp_path):
    Path("d.csv").write_text(TABLE)
    Path("c.yaml").write_text(CONFIG)
    return "c.yaml"


@pytest.mark.parametrize("arguments", [("run",), ("run", "--dry-run"), ("sweep", "--dry-run"), ("sweep",)])
def test_it_is_said_before_anything_runs(arguments, config, call):  # noqa: F811
    rates = ["optimizer.lr=0.1,0.2"] if arguments[0] == "sweep" else []
    done = call(*arguments, config, *rates, "-o", "x")
    assert done.err.splitlines()[:3] == [LINE, INDEX, RATE]
    assert ("note: lr=0.1, lr=0.2 gave equal results" in done.err) == (arguments == ("sweep",))
    if "--dry-run" not in arguments:
        shown = call("show", "x").out
        assert LINE in shown
        assert INDEX in shown
        assert json.loads(call("show", "x", "--json").out)["inferred"] == [LINE, INDEX]
    assert call(*arguments, config, *rates, "-o", "y", "--json").err == ""


def test_folds_that_are_swept_are_told_to_be_ranked_alone(config, call):  # noqa: F811
    changes = ["scheduler=null", "problem.folds=3", "optimizer.lr=0.1,0.2", "--dry-run"]
    said = "each fold are ranked alone: problem.fold=seed seed=0,1,2 ranks them over all folds"
    assert said in call("sweep", config, "problem.fold=0,1", *changes).err
    assert "ranked alone" not in call("sweep", config, "problem.fold=seed", "seed=0,1", *changes).err


def test_parameters_that_are_chosen_on_the_test_data_are_noted(config, call):  # noqa: F811
    said = "note: stop.restore_best chooses by test_loss, on the test data: give "
    changes = ["scheduler=null", "stop.restore_best=true", "evaluate.every=2"]
    done = call("run", config, *changes, "stop.metric=test_loss", "--dry-run")
    assert f"{said}problem.validation_fraction and metric val_loss" in done.err
    done = call("run", config, *changes, "stop.metric=train_loss", "--dry-run")
    assert (done.code, "chooses by" in done.err) == (0, False)


def test_a_run_that_goes_on_says_it_too(config, call):  # noqa: F811
    call("run", config, "-o", "x")
    assert call("resume", "x", "--steps", "8").err.splitlines()[:3] == [LINE, INDEX, RATE]
    assert call("resume", "x", "--steps", "9", "--json").err == ""


def test_seeds_that_change_nothing(config, call):  # noqa: F811
    changes = ["problem=quadratic", "scheduler=null", "seed=0,1"]
    assert (
        "note: quadratic draws nothing, so that seeds have no effect" in call("sweep", config, *changes).err
    )


@pytest.mark.parametrize("name", ["blobs", "linear", "spirals"])
def test_show_lists_the_arguments_of_a_generator(name, call):  # noqa: F811
    out = call("show", name).out
    assert all(each in out for each in ("samples", "noise", "≥ 0", f"data: {name}(samples=500)"))
    assert json.loads(call("show", name, "--json").out)["options"]["samples"]["default"] == 500


@pytest.mark.full
def test_a_dry_run_of_any_length_takes_little_memory(call):  # noqa: F811
    steps = 9 * 10**18
    Path("long.yaml").write_text(
        "problem: rosenbrock\noptimizer: {name: SGD, lr: 1e-6}\nscheduler: {name: ExponentialLR, gamma: 1}\n"
        f"steps: {steps}\n"
    )
    tracemalloc.start()
    done = call("run", "long.yaml", "--dry-run")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (done.code, f"steps       {steps:,}\n" in done.out) == (0, True)
    assert peak < 1 << 28


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("{name: rosenbrock, dim: 2000000000}", "problem.dim: must be ≤ 10000000"),
        ("{name: quadratic, dim: 100000, rotation: true}", "problem.dim: a rotation is a matrix"),
        (
            "{name: mlp, hidden: [10000000, 10000000]}",
            "problem: 100,000,760,000,010 parameters and their gradients",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(problem, message, call):  # noqa: F811
    Path("large.yaml").write_text(f"problem: {problem}\noptimizer: SGD\nsteps: 3\n")
    done = call("validate", "large.yaml")
    assert done.code == 2
    assert re.match(r"large\.yaml:1:\d+: ", done.err)
    assert message in done.err


@pytest.mark.parametrize(
    ("optimizer", "average", "more"),
    [
        ("SGD", "null", ""),
        ("Adam", "null", " (0.6 GiB) and the state of Adam (0.6 GiB) take 1.1 GiB"),
        (
            "{name: LBFGS, history_size: 4}",
            "null",
            " (0.6 GiB) and the state of LBFGS (2.8 GiB) take 3.4 GiB",
        ),
        (
            "{name: SGD, momentum: 0.9}",
            "EMA",
            ", the state of SGD (0.3 GiB) and their average (0.3 GiB) take",
        ),
    ],
)
def test_what_is_kept_beside_the_parameters_must_fit_too(optimizer, average, more, call, monkeypatch):  # noqa: F811
    monkeypatch.setattr(memory, "memory_bytes", lambda: 900 << 20)
    problem = "{name: mlp, data: digits, hidden: [1000000]}"
    Path("large.yaml").write_text(
        f"problem: {problem}\noptimizer: {optimizer}\naverage: {average}\nsteps: 3\n"
    )
    done = call("validate", "large.yaml")
    assert done.code == (2 if more else 0), done.err
    assert more in done.err
    assert ("more than the 0.9 GiB of memory here" in done.err) == bool(more)


SELECTION = "note: settings are selected by {}, on the test data: give {}"
VALIDATION = "problem.validation_fraction=0.2"


@pytest.mark.full
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["sweep.metric.name=test_accuracy"],
            ("test_accuracy", "problem.validation_fraction and metric val_accuracy"),
        ),
        (["sweep.metric.name=test_loss", VALIDATION], ("test_loss", "metric val_loss")),
        (
            ["sweep.metric.name=average_test_loss", "average=ema"],
            ("average_test_loss", "problem.validation_fraction and metric average_val_loss"),
        ),
        (["sweep.metric.name=val_accuracy", VALIDATION], None),
        (["sweep.metric.name=train_accuracy"], None),
        ([], None),
    ],
)
def test_a_selection_on_the_test_data_is_said_once(changes, said, config, call):  # noqa: F811
    changes = ["scheduler=null", *changes]
    rates = ["optimizer.lr=0.1,0.2", "problem.hidden=[2],[3]"]
    lines = call("sweep", config, *rates, *changes, "--dry-run").err.splitlines()
    assert [line for line in lines if "selected" in line] == ([SELECTION.format(*said)] if said else [])
    assert call("sweep", config, *rates, *changes, "--dry-run", "--json").err == ""
    assert "selected" not in call("sweep", config, "seed=0,1", *changes, "--dry-run").err


@pytest.mark.full
def test_draws_that_are_spread_unequally_over_problems_are_told(tmp_path, call):  # noqa: F811
    (tmp_path / "r.yaml").write_text(
        "problem: {name: quadratic, dim: 2}\noptimizer: SGD\nsteps: 3\nsweep:\n  method: random\n  trials: 9\n"
        "  parameters:\n    problem.dim: [2, 3]\n    optimizer.lr: {loguniform: [1e-4, 1]}\n"
        "    optimizer.name: [SGD, Adam]\n"
    )
    done = call("sweep", "r.yaml", "--dry-run", "--json")
    settings = json.loads(done.out)["settings"]
    counts = Counter((each["problem.dim"], each["optimizer.name"]) for each in settings)
    assert len(counts) == 4
    spread = (
        f"the 4 cells of problem and optimizer.name have {min(counts.values())} to {max(counts.values())}"
    )
    how = "settings each; sweep.cross: [problem.dim] runs each draw on every problem"
    assert (
        f"note: problems are drawn like other parameters: {spread} {how}\n"
        in call("sweep", "r.yaml", "--dry-run").err
    )
    few = call("sweep", "r.yaml", "--limit=1", "sweep.trials=6").err
    assert "of 4 cells of problem and optimizer.name have no setting: quadratic dim=" in few
    assert (
        "1 of 2 problems have no setting; sweep.cross" in call("sweep", "r.yaml", "-n", "sweep.trials=1").err
    )
    for change in ("sweep.cross=[problem.dim]", "problem.dim=2"):
        assert "drawn like other" not in call("sweep", "r.yaml", "--dry-run", change).err


def test_few_fresh_seeds_are_told_before_they_run(tmp_path, call):  # noqa: F811
    (tmp_path / "c.yaml").write_text(
        "problem: {name: quadratic, noise: 1.0}\noptimizer: SGD\nsteps: 3\n"
        "sweep: {parameters: {optimizer.lr: [0.1, 0.2]}, confirm: {seeds: 5}}\n"
    )
    said = "note: 5 fresh seeds confirm, which are too few for a test: 6 are the fewest that can show a difference"
    for option in ("--dry-run", "--limit=1"):
        assert said in call("sweep", "c.yaml", option).err
    assert "too few" not in call("sweep", "c.yaml", "--dry-run", "sweep.confirm.seeds=6").err


def test_a_run_selects_nothing(config, call):  # noqa: F811
    assert "selected" not in call("run", config, "--dry-run").err


@pytest.mark.parametrize(
    ("path", "noted"), [("seeds.init", True), ("seeds.data", True), ("optimizer.lr", False)]
)
def test_seeds_that_are_swept_as_parameters_are_told(path, noted, config, call):  # noqa: F811
    done = call("sweep", "--dry-run", config, f"{path}=1,2")
    assert (f"note: {path} is swept, and its values are ranked like settings" in done.err) is noted
