"""The commands about configs, as a user meets them."""

import json
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from optrun.analysis.figure_names import lacking
from optrun.api.runs import load_run, run
from optrun.cli.app import app
from optrun.cli.commands import configs
from optrun.cli.commands.configs import Template
from optrun.cli.exits import exit_code_of
from optrun.cli.views.starter import PLUGINS
from optrun.config import Resolved, from_mapping, load
from optrun.config.sweep.resolve import load_sweep
from optrun.errors import ConfigError, PluginError
from tests.pairs import few_in_short

BASE = "problem: {name: softmax_regression, data: iris}\noptimizer: {name: Adam, lr: 1e-1}\nsteps: 30\n"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str) -> Done:
    """Run the command line in this process."""
    with redirect_stdout(StringIO()) as stdout, redirect_stderr(StringIO()) as stderr:
        code = exit_code_of(lambda: app(arguments))
    return Done(code, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(autouse=True)
def _files(_in_empty_directory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    Path("base.yaml").write_text(BASE)
    Path("a.yaml").write_text("extends: base.yaml\noptimizer: {betas: [0.5, 0.9]}\n")


def test_config_prints_what_would_run_and_it_can_be_run() -> None:
    done = call("config", "a.yaml", "optimizer.lr=1e-2")
    assert (done.returncode, done.stderr) == (0, "")
    Path("again.yaml").write_text(done.stdout)
    assert load("again.yaml") == load("a.yaml", ["optimizer.lr=1e-2"])
    assert "extends" not in done.stdout
    assert call("config", "again.yaml").stdout == done.stdout


def test_config_as_json() -> None:
    done = call("config", "a.yaml", "--json")
    assert from_mapping(json.loads(done.stdout)) == load("a.yaml")


def test_show_origin_names_files_overrides_and_defaults() -> None:
    lines = call("config", "a.yaml", "optimizer.lr=1e-2", "--show-origin").stdout.splitlines()
    origins = {line.split(":")[0]: line for line in lines}
    assert origins["optimizer.lr"].endswith("  override 'optimizer.lr=1e-2'")
    assert origins["optimizer.beta1"].endswith("  a.yaml:2:21")
    assert origins["steps"].endswith("  base.yaml:3:8")
    assert origins["seed"].split() == ["seed:", "0", "default"]
    assert max(map(len, lines)) <= 80
    told = json.loads(call("config", "a.yaml", "--show-origin", "--json").stdout)
    assert {"path": "optimizer.beta2", "value": 0.9, "origin": "a.yaml:2:26"} in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "a.yaml", "optimizer.lrr=1"], "optimizer.lrr: unknown key. Did you mean 'lr'?"),
        (["config", "b.yaml"], "b.yaml: no such file or directory"),
        (["validate", "cycle.yaml"], "cycle.yaml:1:10: extends: a cycle: cycle.yaml → cycle.yaml"),
        (["init", "a.yaml"], "a.yaml: exists already: name another, or replace it with --force"),
        (["init", "a.py"], "a.py: a config is YAML; for a plugin: --template optimizer, problem, scheduler"),
        (["init", "none/a.yaml"], "none/a.yaml: no such file or directory"),
        (["init", "--template", "many"], "smoke"),
        (["schema", "-o", "none/s.json"], "none/s.json: no such file or directory"),
    ],
)
def test_a_mistake_is_exit_2_and_one_clear_message(arguments: list[str], message: str) -> None:
    Path("cycle.yaml").write_text("extends: cycle.yaml\n")
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("base.yaml").read_text() == BASE


CONFIGS = [template for template in Template if template not in PLUGINS]


@pytest.mark.parametrize("template", few_in_short(zip(CONFIGS), 2))
def test_init_writes_a_config_that_runs_and_says_how(template: str) -> None:
    done = call("init", "my lab.yaml", "--template", template)
    assert (done.returncode, done.stdout) == (0, "my lab.yaml\n")
    commands = [line[6:] for line in done.stderr.splitlines() if line[:6] in ("next: ", "      ")]
    run = "sweep" if template == Template.SWEEP else "run"
    assert commands[0].startswith(f"optrun {run} 'my lab.yaml'")
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "optrun"
        assert call(*arguments, *(["--no-save"] if arguments[0] == "run" else [])).returncode == 0
    mentioned = [line[4:] for line in Path("my lab.yaml").read_text().splitlines() if line.startswith("#   ")]
    for command in mentioned:
        overrides = [each for each in shlex.split(command)[3:] if each != "--dry-run"]
        assert (load if run == "run" else load_sweep)(shlex.split(command)[2], overrides)


def test_init_leads_editors_to_the_schema_beside_it() -> None:
    Path("lab").mkdir()
    assert call("init", "lab/x.yaml").returncode == 0
    first, second, *_ = Path("lab/x.yaml").read_text().splitlines()
    assert first == "# yaml-language-server: $schema=.optrun-schema.json"
    assert second == "# $schema: .optrun-schema.json"
    schema = json.loads(Path("lab/.optrun-schema.json").read_text())
    assert schema == json.loads(call("schema").stdout)
    assert "Adam" in schema["definitions"]["optimizer"]["anyOf"][0]["enum"]


def test_init_replaces_a_file_by_force_alone() -> None:
    assert call("init", "a.yaml", "--force").returncode == 0
    assert load("a.yaml").problem.name == "mlp"


@pytest.mark.full
def test_a_plug_in_is_part_of_the_schema_and_of_configs() -> None:
    Path("mine.py").write_text(
        "from optrun.optim import Optimizer\n"
        "from optrun.registry import NonNegative\n"
        "class Drop(Optimizer):\n"
        '    """Straight down."""\n'
        "    @staticmethod\n"
        "    def update(p, g, t, /, *, lr: NonNegative = 1e-2):\n"
        "        p -= lr * g\n"
    )
    optrun = [sys.executable, "-m", "optrun"]  # in a process of its own: a class stays registered
    schema = subprocess.run([*optrun, "schema", "--plugin", "mine.py"], capture_output=True, check=True)
    assert "optimizer.Drop" in json.loads(schema.stdout)["definitions"]
    config = [*optrun, "config", "base.yaml", "optimizer=drop", "--json", "--plugin", "mine.py"]
    printed = json.loads(subprocess.run(config, capture_output=True, check=True).stdout)
    assert (printed["optimizer"]["name"], printed["optimizer"]["lr"]) == ("Drop", 0.01)


def expecting(bounds: str, *arguments: str) -> Done:
    Path("e.yaml").write_text(
        f"extends: base.yaml\nexpect:\n  test_accuracy: {bounds}\n  final_loss: {{max: 9}}\n"
    )
    return call("run", "e.yaml", "-q", "-o", "run", *arguments)


def test_an_expectation_that_is_met_is_exit_0() -> None:
    done = expecting("{min: 0.1}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["expect"] == "met"


def test_a_missed_expectation_is_exit_4_with_value_bound_and_place() -> None:
    done = expecting("{min: 1.5}", "expect.final_loss.max=1e-9")
    assert (done.returncode, done.stdout) == (4, "run\n")
    first, second = done.stderr.splitlines()
    summary = load_run("run").summary
    assert (
        first == f"e.yaml:3:24: expect.test_accuracy: {summary['test_accuracy']:.6g} is below the minimum 1.5"
    )
    place = "override 'expect.final_loss.max=1e-9'"
    assert second == f"{place}: expect.final_loss: {summary['final_loss']:.6g} is above the maximum 1e-09"


@pytest.mark.parametrize(
    "command",
    ["run e.yaml", "run e.yaml -n", "run e.yaml --smoke", "validate e.yaml", "sweep e.yaml seed=0,1"],
)
def test_a_figure_that_no_run_measures_is_not_expected(command: str) -> None:
    Path("e.yaml").write_text(
        "problem: rosenbrock\noptimizer: SGD\nsteps: 3\nexpect:\n  test_accuracy: {min: 0.9}\n"
    )
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (2, "")
    said = "expect.test_accuracy: rosenbrock has no figure 'test_accuracy': final_loss."
    assert done.stderr == f"e.yaml:5:18: {said}\n"
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("param_norm", " `evaluate: {metrics: [param_norm]}` measures it."),
        ("average_loss", " `average: swa` or `average: ema` keeps an average."),
        ("final_value", " Did you mean 'final_loss'?"),
        ("steps", " Did you mean 'steps_to_target'?"),
        ("f1", ""),
    ],
)
def test_a_figure_that_no_run_measures_comes_with_how_to_have_it(name: str, hint: str) -> None:
    config = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 3, "expect": {name: {"min": -1e9}}}
    with pytest.raises(ConfigError) as caught:
        run(config, save=False)
    assert str(caught.value) == f"rosenbrock has no figure {name!r}: final_loss.{hint}"
    assert caught.value.field == f"expect.{name}"


VALIDATION = "It needs validation samples: set problem.validation_fraction."


@pytest.mark.parametrize(
    ("name", "options", "hint"),
    [
        ("val_loss", {}, VALIDATION),
        ("average_val_loss", {}, VALIDATION),
        ("val_f1_macro", {}, f"{VALIDATION} `evaluate: {{metrics: [f1_macro]}}` measures it."),
        ("val_loss", {"test_fraction": 0}, VALIDATION),
        ("test_loss", {"test_fraction": 0}, "It needs test samples: set problem.test_fraction."),
        ("val_loss", {"split": {"train": 0.8, "test": 0.2}}, "problem.split gives it no samples."),
    ],
)
def test_a_figure_of_samples_that_are_not_there_comes_with_what_gives_them(
    name: str, options: dict[str, Any], hint: str
) -> None:
    """A similar figure of other samples is no answer: to select by the training loss is another thing."""
    config = {"problem": {"name": "softmax_regression", "data": "iris", **options}, "steps": 3}
    with pytest.raises(ConfigError) as caught:
        run({**config, "optimizer": "SGD", "expect": {name: {"min": -1e9}}}, save=False)
    assert str(caught.value).endswith(f". {hint}")


def test_runs_without_validation_samples_say_so() -> None:
    assert lacking("best_val_loss", ["final_loss", "test_loss"]) == f" {VALIDATION}"
    assert lacking("val_loss", ["final_loss"]) == " Did you mean 'final_loss'?"


@pytest.mark.parametrize(
    ("name", "changes"),
    [("param_norm", {"evaluate": {"metrics": ["param_norm"]}}), ("average_loss", {"average": "ema"})],
)
def test_a_figure_that_the_config_adds_may_be_expected(name: str, changes: dict[str, Any]) -> None:
    config = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 3, "expect": {name: {"min": -1e9}}}
    assert name in run(config | changes, save=False).summary


def test_json_lists_what_was_missed() -> None:
    done = expecting("{max: 0}", "--json")
    (missed,) = json.loads(done.stdout)["expect"]
    assert done.returncode == 4
    assert "expect.test_accuracy" in str(missed)


def test_a_run_that_diverges_is_exit_1_whatever_was_expected() -> None:
    done = expecting("{min: 1.5}", "stop.divergence=1e-9")
    assert done.returncode == 1
    assert "expect.test_accuracy" in done.stderr


def test_a_resumed_run_keeps_its_expectations() -> None:
    assert expecting("{min: 1.5}").returncode == 4
    stored: dict[str, Any] = load("run/config.yaml").to_dict()
    assert stored["expect"] == {"test_accuracy": {"min": 1.5}, "final_loss": {"max": 9.0}}


@pytest.mark.parametrize(
    ("error", "told"), [(PluginError("no such thing"), "no such thing"), (MemoryError(), "out of memory")]
)
def test_validate_goes_on_after_any_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def build(resolved: Resolved) -> None:
        if resolved.config.name == "a":
            raise error

    monkeypatch.setattr(configs, "_build", build)
    done = call("validate", "a.yaml", "base.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (2, "base.yaml: ok\n", f"a.yaml: {told}\n")


def test_validate_tells_programs_too(tmp_path):
    (tmp_path / "good.yaml").write_text("problem: rosenbrock\noptimizer: SGD\nsteps: 3\n")
    (tmp_path / "bad.yaml").write_text("problem: rosenbrock\noptimizer: SGD\nsteps: 0\n")
    command = [sys.executable, "-m", "optrun", "validate", "good.yaml", "bad.yaml", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert found["good.yaml"] == []
    assert [(issue["line"], issue["column"], issue["path"]) for issue in found["bad.yaml"]] == [
        (3, 8, "steps")
    ]


@pytest.mark.full
def test_closed_streams_are_no_bug(tmp_path):
    (tmp_path / "good.yaml").write_text("problem: rosenbrock\noptimizer: SGD\nsteps: 3\n")
    for streams in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            f"{sys.executable} -m optrun validate good.yaml {streams}",
            shell=True,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr


def test_validate_takes_overrides() -> None:
    assert call("validate", "a.yaml", "optimizer.lr=0.1").stdout == "a.yaml: ok\n"
    done = call("validate", "a.yaml", "optimizer.lr=x")
    said = "override 'optimizer.lr=x': optimizer.lr: must be a number (got 'x')\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert "no file is given" in call("validate", "optimizer.lr=0.1").stderr
