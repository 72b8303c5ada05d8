"""The plugins that `init` writes: they run at once, their numbers are right, and the contract tests take them in.

A class stays registered, so each is written, loaded and run in a process of its own.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.api.runs import Run
from optrun.cli.views.starter import PLUGINS
from tests.forked import python
from tests.pairs import few_in_short

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    "optimizer": ("MyOptimizer", "tests/optim/test_examples.py"),
    "problem": ("my_problem", "tests/problems/test_problem_contract.py"),
    "scheduler": ("MyScheduler", "tests/schedulers/test_contract.py"),
}
QUICKLY = {
    "optimizer": ["--scheduler", "none"],
    "problem": ["--optimizer", "SGD"],
    "scheduler": ["--optimizer", "SGD"],
}
"""What keeps `smoke` short."""


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "optrun", *arguments)


def run(template: str, *overrides: str) -> Run:
    """Write a template, run it as `init` says, and return the run."""
    written = call("init", "--template", template)
    assert (written.returncode, written.stdout) == (0, f"my_{template}.yaml\nmy_{template}.py\n")
    command = written.stderr.split("next: ")[1].splitlines()[0]
    assert command == f"optrun run my_{template}.yaml --plugin my_{template}.py"
    done = call(*shlex.split(command)[1:], "-q", "-o", "here", *overrides)
    assert done.returncode == 0, done.stderr
    return optrun.load_run("here")


@pytest.mark.full
def test_the_optimizer_is_the_heavy_ball():
    ran = run("optimizer")
    optimum = optrun.problems.Quadratic(optrun.arrays.Arrays(dtype="float64"), dim=10).minimizers[0]["x"]
    error = []
    for curvature, start in zip(np.geomspace(1, 100, 10), -optimum, strict=True):
        # (e, v) ← (e - lr v′, v′) with v′ = μ v + λ e
        step = np.array([[1 - 1e-2 * curvature, -1e-2 * 0.8], [curvature, 0.8]])
        error.append((np.linalg.matrix_power(step, 200) @ [start, 0.0])[0])
    assert ran.params["x"] - optimum == pytest.approx(np.array(error), rel=1e-9, abs=1e-12)


@pytest.mark.full
def test_the_scheduler_falls_with_the_square_root_of_time():
    assert run("scheduler").curves["lr"] == pytest.approx(1e-2 / np.sqrt(1 + np.arange(200) / 50), rel=1e-15)


@pytest.mark.full
def test_the_problem_is_a_bowl():
    ran = run("problem")
    # The gradient is 2 x, so a step of 0.1 multiplies x by 0.8, and the loss by 0.64.
    start = optrun.arrays.stream(0, "initialisation").standard_normal(3)
    assert ran.curves["loss"] == pytest.approx(start @ start * 0.64 ** np.arange(50), rel=1e-12)
    assert ran.params["x"] == pytest.approx(start * 0.8**50, rel=1e-12)


@pytest.mark.full
@pytest.mark.parametrize("template", PLUGINS)
def test_what_the_files_mention_works(template):
    assert call("init", "a plugin.py", "--template", template).returncode == 0
    texts = [Path(f"a plugin{suffix}").read_text(encoding="utf-8") for suffix in (".yaml", ".py")]
    commands = [
        line.strip("# ")
        for text in texts
        for line in text.splitlines()
        if line.strip("# ").startswith("optrun ")
    ]
    assert len(commands) == 5
    for command in commands:
        done = call(*shlex.split(command)[1:], *(QUICKLY[template] if " smoke " in command else ()))
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    schema = json.loads(Path(".optrun-schema.json").read_text(encoding="utf-8"))
    assert CONTRACTS[template][0] in json.dumps(schema["definitions"][template])


@pytest.mark.full
@pytest.mark.parametrize("template", PLUGINS)
def test_the_contract_tests_take_it_in(template):
    assert call("init", "--template", template).returncode == 0
    plugin, (name, *suites) = Path(f"my_{template}.py").resolve(), CONTRACTS[template]
    assert f"-k {name}" in plugin.read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", name, "-p", "no:cacheprovider", *suites],
        cwd=ROOT,
        env={**os.environ, "OPTRUN_TESTS_PLUGIN": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 2


@pytest.mark.full
@pytest.mark.parametrize(
    ("file", "there", "said"),
    few_in_short(
        [
            ("a.yaml", "a.py", "a.py: exists already: name another, or replace it with --force"),
            ("a.py", "a.yaml", "a.yaml: exists already: name another, or replace it with --force"),
            ("optrun.yaml", "", "optrun.py: Python would take it for optrun itself: name another file"),
        ],
        3,
    ),
)
def test_nothing_is_overwritten_or_hidden(file, there, said):
    if there:
        Path(there).write_text("mine")
    done = call("init", file, "--template", "optimizer")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{said}\n")
    assert [each.read_text() for each in Path().iterdir()] == ["mine"] * bool(there)
    if there:
        assert call("init", file, "--template", "optimizer", "--force").returncode == 0
        assert "MyOptimizer" in Path(there).read_text(encoding="utf-8")
