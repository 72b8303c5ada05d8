"""The command `smoke`: the table, what is behind its marks, reports, exit codes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from optrun.registry import optimizers, schedulers
from optrun.selftest import smoke
from optrun.selftest.smoke import Verdict
from tests.cli.test_cli import call

BROKEN = """\
import sys
from typing import Any

import numpy as np

from optrun.errors import ConfigError
from optrun.optim import SGD, Optimizer
from optrun.ops import sqrt
from optrun.registry import NonNegative


class Raising(SGD):
    def _step(self, closure: Any = None) -> Any:
        raise LookupError("nowhere")


class Wild(Optimizer):
    @staticmethod
    def update(p: Any, g: Any, t: Any, /, *, lr: NonNegative = 0.1) -> None:
        p -= lr * sqrt(-1 - g * g)


class Mixing(SGD):
    def _step(self, closure: Any = None) -> Any:
        super()._step(closure)
        self.params.data[:] = self.params.data.mean(axis=0)


class Matrices(SGD):
    def __init__(self, params: Any, *args: Any, **options: Any) -> None:
        if any(len(shape) != 2 for shape in params.shapes.values()):
            raise ConfigError("Matrices: takes matrices alone")
        super().__init__(params, *args, **options)


class Waiting(SGD):
    def _step(self, closure: Any = None) -> Any:
        if self.param_groups[0]["lr"] is not None and not hasattr(self, "said"):
            self.said = True
            print("waiting", file=sys.stderr, flush=True)
        return super()._step(closure)
"""
QUICK = ("--problem", "beale", "--problem", "mlp", "--steps", "3")


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    return ("--plugin", "broken.py")


def test_all_that_is_registered_has_a_mark(monkeypatch):
    """Pairs of rules and schedules are run by the tests of what the command calls."""

    def tried(combination, *_):
        return (
            (Verdict.NOT_APPLICABLE, "no")
            if str(combination) == "Adam × none × mlp"
            else (Verdict.PASSED, "")
        )

    monkeypatch.setattr(smoke, "_tried", tried)
    done = call("smoke", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == [chr(ord("A") + index) for index in range(1 + len(schedulers))]
    for line, name in zip(lines[1:], optimizers, strict=False):
        assert line.split()[0] == name
        assert len(line.split()) == len(lines[0].split()) + 1
        assert set(line.split()[1:]) <= {"✓", "◐", "–"}
    legend = "  ".join(lines[2 + len(optimizers) :])
    for letter, name in zip(lines[0].split(), ["none", *schedulers], strict=True):
        assert f"{letter} {name}" in legend
    size = f"{len(optimizers)} optimizers × {1 + len(schedulers)} schedulers × 2 problems in "
    assert re.match(rf"\d[\d,]* passed, 0 failed, 1 not applicable: {size}[\d.]+ s$", lines[-1])
    assert max(map(len, lines[: 1 + len(optimizers)])) <= 80
    assert not Path("runs").exists()


@pytest.mark.full
def test_what_fails_is_spelled_out_with_the_command_that_shows_it_again(broken):
    chosen = ("--optimizer", "Adam", "--optimizer", "Raising", "--optimizer", "wild", "--optimizer", "Mixing")
    done = call("smoke", *chosen, "--scheduler", "StepLR", "--scheduler", "none", *QUICK, *broken)
    assert done.returncode == 1
    table = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:5]}
    assert table == {"Adam": ["✓"] * 2, "Raising": ["✗"] * 2, "Wild": ["✗"] * 2, "Mixing": ["✗"] * 2}
    failures = done.stdout.split("\nfailed\n")[1].splitlines()
    assert any(line.startswith("  Raising × StepLR × beale: LookupError: nowhere (") for line in failures)
    assert "  Wild × none × mlp: diverged: loss is nan at step 1 (lane 0, lr 0.1)" in failures
    assert (
        "  Mixing × none × mlp: loss of lane 2 differs between the pack and a run of the lane alone"
        in failures
    )
    assert failures[-1].startswith(
        "4 passed, 12 failed, 0 not applicable: 4 optimizers × 2 schedulers × 2 problems"
    )
    commands = [line.split() for line in failures if line.startswith("    optrun smoke ")]
    assert len(commands) == 12
    again = call(*commands[-1][1:])
    assert again.returncode == 1
    assert again.stdout.splitlines()[-1].startswith("0 passed, 1 failed, 0 not applicable: 1 optimizer × ")


@pytest.mark.full
def test_many_failures_of_one_optimizer_are_counted(broken):
    done = call("smoke", "--optimizer", "Raising", "--steps", "2", *broken)
    assert done.returncode == 1
    counted = re.search(r"  and (\d+) more: optrun (smoke .*)", done.stdout)
    assert counted is not None
    assert done.stdout.count("    optrun smoke ") == 20
    cases = json.loads(call(*shlex.split(counted[2])).stdout)["cases"]
    assert sum(each["verdict"] == "failed" for each in cases) == 20 + int(counted[1])


@pytest.mark.full
def test_what_does_not_apply_is_no_pass_and_says_why(broken):
    only = ("--optimizer", "Matrices", "--scheduler", "none", "--scheduler", "StepLR")
    done = call("smoke", *only, *QUICK, *broken)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["Matrices", "◐", "◐"]
    assert (
        "\nnot applicable\n  Matrices on beale, 2 schedulers: Matrices: takes matrices alone\n" in done.stdout
    )
    assert "\n2 passed, 0 failed, 2 not applicable: " in done.stdout
    nothing = call("smoke", *only, "--problem", "beale", *broken)
    assert nothing.returncode == 1
    assert "\n0 passed, 0 failed, 2 not applicable: " in nothing.stdout


@pytest.mark.full
def test_json_has_every_combination(broken):
    chosen = ("--optimizer", "Adam", "--optimizer", "Matrices", "--optimizer", "Wild", "--scheduler", "none")
    done = call("smoke", *chosen, *QUICK, "--json", *broken)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [found[key] for key in ("passed", "failed", "not applicable")] == [3, 2, 1]
    assert [each["verdict"] for each in found["cases"]] == [
        *("passed", "passed", "not applicable", "passed", "failed", "failed")
    ]
    assert found["cases"][0] == {
        "optimizer": "Adam",
        "scheduler": "none",
        "problem": "beale",
        "verdict": "passed",
        "reason": "",
    }


@pytest.mark.full
def test_ci_gets_every_case_as_junit_and_a_line_per_optimizer_as_summary(broken, tmp_path):
    chosen = ("--optimizer", "Adam", "--optimizer", "Matrices", "--optimizer", "Wild", "--scheduler", "none")
    summary = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    done = call("smoke", *chosen, *QUICK, "--junit", "report.xml", *broken, **summary)
    assert done.returncode == 1
    suite = ElementTree.parse("report.xml").getroot()[0]
    assert [suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")] == [
        *("optrun smoke", "6", "2", "0", "1")
    ]
    names = {case.get("name"): case for case in suite}
    assert names["Adam × none × mlp"].get("classname") == "smoke.Adam"
    assert len(names["Adam × none × mlp"]) == 0
    assert names["Matrices × none × beale"].find("skipped").get("message") == "Matrices: takes matrices alone"
    assert "loss is nan at step 1" in names["Wild × none × mlp"].find("failure").get("message")
    assert done.stderr.count("::error ") == 2
    assert "::error title=optrun::Wild × none × beale: diverged: loss is nan" in done.stderr
    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert [line.split("|")[1:3] for line in lines if line.startswith("| ")][1:] == [
        [" ✅ ", " Adam "],
        [" ✅ ", " Matrices "],
        [" ❌ ", " Wild "],
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--optimizer", "Adm"), "unknown optimizer 'Adm'. Did you mean 'Adam'?"),
        (("--scheduler", "StpLR"), "unknown scheduler 'StpLR'. Did you mean 'StepLR'?"),
        (("--problem", "beal"), "unknown problem 'beal'. Did you mean 'beale'?"),
        (("--steps", "0"), "--steps"),
        (("--plugin", "nowhere.py"), "plugin 'nowhere.py'"),
        (("--junit", "."), "--junit: .: is a directory"),
    ],
)
def test_a_mistake_runs_nothing(arguments, said):
    done = call("smoke", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it(number, code, broken):
    command = ["smoke", "--optimizer", "Waiting", "--steps", str(10**6), "--problem", "beale", *broken]
    process = subprocess.Popen(
        [sys.executable, "-m", "optrun", *command, "--junit", "report.xml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "waiting\n"
    process.send_signal(number)
    out, errors = process.communicate()
    assert (process.returncode, out, errors) == (
        code,
        "",
        f"interrupted after 0 of {1 + len(schedulers)} combinations\n",
    )
    assert ElementTree.parse("report.xml").getroot()[0].get("name") == "optrun smoke"
