"""The command line, as a user meets it: output, errors, exit codes."""

import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import optrun
from optrun.cli.app import app
from optrun.cli.exits import exit_code_of, reported
from optrun.config import load
from tests.cli.looking import read_until_progress

CONFIG = """\
name: small
problem: {name: softmax_regression, data: iris, batch_size: 32}
optimizer: {name: Adam, lr: 1e-2}
scheduler: {name: CosineAnnealingLR, T_max: 40}
steps: 40
evaluate: {every: 10}
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    return "small.yaml"


FORCED = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")


def call(*arguments, **environment):
    """Run the command line: in a process of its own where it leaves traces, such as a plugin's, and here otherwise."""
    if environment or "--plugin" in arguments:
        return process(*arguments, **environment)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in FORCED:
            patch.delenv(name, raising=False)
        code = exit_code_of(lambda: app(list(map(str, arguments)), prog_name="optrun"))
        err.flush()
    return subprocess.CompletedProcess(
        arguments, code, *(stream.buffer.getvalue().decode() for stream in (out, err))
    )


def process(*arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if key not in FORCED}
    return subprocess.run(
        [sys.executable, "-m", "optrun", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=clean | {"TERMINAL_WIDTH": "100"} | environment,
    )


def test_run_ends_with_the_result_the_directory_and_what_to_type_next(config):
    done = call("run", config)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "small: completed after 40 steps"
    assert any(line.split()[0] == "test_accuracy" for line in lines)
    assert lines[-1].startswith("runs/")
    assert Path(lines[-1]).is_dir()
    assert "\x1b" not in done.stdout + done.stderr
    after = done.stderr[done.stderr.index("next: ") :].splitlines()
    assert [line[6:].split()[:2] for line in after] == [["optrun", "curves"], ["optrun", "export"]]
    for line in after:
        assert call(*line[6:].split()[1:]).returncode == 0
    assert Path("curves.csv").read_text().startswith("run,seed,status,step,loss,lr\n0,")


def test_quiet_prints_the_directory_alone(config):
    done = call("run", config, "-q", "-o", "here/it/is")
    assert (done.returncode, done.stdout, done.stderr) == (0, "here/it/is\n", "")
    again = call("run", config, "-q", "-o", "here/it/is")
    assert again.returncode == 2
    assert "exists already, and holds a run: optrun resume" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_run_is_the_same_object_of_json_in_every_command(config):
    result = json.loads(call("run", config, "--json", "--seed", "3").stdout)
    assert (result["status"], result["steps"], result["seed"]) == ("completed", 40, 3)
    assert result["config"] == load(Path(result["run"]) / "config.yaml").to_dict()
    assert {"final_loss", "test_accuracy", "train_loss"} <= result["summary"].keys()
    shown = json.loads(call("show", "latest", "--json").stdout)
    (listed,) = json.loads(call("ls", "--json").stdout)
    (within,) = json.loads(call("ls", result["run"], "--json").stdout)
    for other in (shown, listed, within, json.loads(call("resume", "latest", "--json").stdout)):
        assert {name: other[name] for name in result} == result
    call("sweep", config, "optimizer.lr=0.1,0.2", "-o", "s", "-q")
    member = json.loads(call("show", "s:1", "--json").stdout)
    assert (member["run"], member["path"]) == ("s:1", "s")
    listed = json.loads(call("ls", "s", "--json").stdout)[1]
    assert {name: listed[name] for name in result} == {name: member[name] for name in result}


def test_no_save_leaves_nothing_behind(config):
    done = call("run", config, "--no-save", "--json")
    assert json.loads(done.stdout)["run"] is None
    assert not Path("runs").exists()
    quiet = call("run", config, "--no-save", "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_a_stored_config_runs_to_the_same_bytes(config):
    first = call("run", config, "-q", "-o", "first", "optimizer.lr=3e-2", "seed=5")
    assert first.returncode == 0
    assert call("run", "first/config.yaml", "-q", "-o", "second").returncode == 0
    assert Path("first/metrics.csv").read_bytes() == Path("second/metrics.csv").read_bytes()


def test_divergence_is_exit_1_and_names_the_step(config):
    done = call("run", config, "problem=rosenbrock", "optimizer=SGD", "optimizer.lr=1", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["status"] == "diverged"
    assert f"at step {result['steps']}" in result["reason"]
    again = optrun.load_run(result["run"])
    assert again.summary == result["summary"]
    assert again.curves["step"][-1] == result["steps"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "smal.yaml"], "Did you mean 'small.yaml'"),
        (["run", "small.yaml", "optimizer.lrr=1"], "optimizer.lrr: unknown key. Did you mean 'lr'"),
        (["run", "small.yaml", "optimizer.name=Adm"], "unknown optimizer 'Adm'. Did you mean 'Adam'"),
        (["run", "small.yaml", "optimizer.lr=-1"], "optimizer.lr: must be ≥ 0 (got -1"),
        (["run", "small.yaml", "problem.data=iriss"], "Did you mean 'iris'"),
        (["run", "small.yaml", "problem.data=missing.csv"], "missing.csv"),
        (["run", "small.yaml", 'optimizer.param_groups=[{params: "*.bais", lr: 1}]'], "no parameter matches"),
        (["resume", "nowhere"], "nowhere"),
        (["export", "nowhere"], "nowhere"),
        (["export", "nowhere", "--format", "cvs"], "Did you mean 'csv'"),
        (["show", "Adm"], "Did you mean 'Adam'"),
        (["list", "optimizer"], "Did you mean 'optimizers'"),
        (["run", "small.yaml", "--plugin", "missing.py"], "plugin 'missing.py'"),
        (["run", "small.yaml", "steps=5", "steps=6"], "steps: override 'steps=5' sets it too"),
        (["run", "small.yaml", "--seed", "3", "seed=4"], "--seed 3: override 'seed=4' sets it too"),
        (["rnu", "small.yaml"], "run"),
        (["run", "small.yaml", "--sed", "3"], "--seed"),
    ],
)
def test_a_mistake_is_exit_2_one_clear_message_and_nothing_left(config, arguments, message):
    done = call(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("command", "option", "given", "meant"),
    [
        ("plot", "--kind", "beste", "best"),
        ("plot", "--style", "papr", "paper"),
        ("curves", "--kind", "sens", "sensitivity"),
        ("export", "--what", "run", "runs"),
        ("export", "--to", "mlflw", "mlflow"),
        ("run", "--progress", "lvie", "live"),
        ("init", "--template", "optimiser", "optimizer"),
    ],
)
def test_a_mistyped_choice_is_told_the_nearest_one(command, option, given, meant):
    with pytest.raises(typer.BadParameter) as caught:
        typer.main.get_command(app).commands[command].make_context(command, ["x", option, given])
    assert caught.value.message.startswith(f"{given!r} is not one of '")
    assert caught.value.message.endswith(f". Did you mean {meant!r}?")


@pytest.mark.full
def test_debug_shows_the_traceback(config):
    assert "Traceback" in process("run", config, "optimizer.lr=-1", "--debug").stderr


def test_validate_names_every_mistake_of_every_file(config, tmp_path):
    (tmp_path / "bad.yaml").write_text("problem: rosenbrok\noptimizer: {name: SGD, lr: yes}\nsteps: 0\n")
    done = call("validate", config, "bad.yaml")
    assert done.returncode == 2
    assert done.stdout == "small.yaml: ok\n"
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [
        "bad.yaml:1:10",
        "bad.yaml:2:28",
        "bad.yaml:3:8",
    ]
    assert call("validate", config).returncode == 0


@pytest.mark.full
def test_list_and_show_tell_what_is_registered():
    listed = json.loads(call("list", "--json").stdout)
    assert {
        "optimizers",
        "schedulers",
        "problems",
        "averages",
        "transforms",
        "wrappers",
        "methods",
        "datasets",
        "metrics",
    } == listed.keys()
    for kind in ("optimizers", "schedulers", "problems", "averages"):
        assert all(listed[kind].values())
    assert call("list", "optimizers").stdout.splitlines()[0] == "optimizers"
    assert "lr" in json.loads(call("show", "adam", "--json").stdout)["options"]


def test_what_show_prints_is_a_config(tmp_path):
    stub = call("show", "Adam").stdout.split("\n\noptimizer:\n")[1]
    (tmp_path / "stub.yaml").write_text(f"problem: rosenbrock\nsteps: 2\noptimizer:\n{stub}")
    assert call("validate", "stub.yaml").returncode == 0


def test_export_forms_agree(config):
    directory = call("run", config, "-q").stdout.strip()
    run = optrun.load_run(directory)
    rows = list(csv.DictReader(call("export", directory).stdout.splitlines()))
    assert list(rows[0])[:6] == ["run", "seed", "status", "step", "loss", "lr"]
    np.testing.assert_array_equal([float(row["loss"]) for row in rows], run.curves["loss"])
    assert call("export", directory, "--format", "npz", "-o", "curves.npz").returncode == 0
    with np.load("curves.npz") as exported:
        np.testing.assert_array_equal(exported["lr"], run.curves["lr"])
    exported = json.loads(call("export", directory, "--format", "json").stdout)
    assert exported["status"] == "completed"


PLUGIN = '''
from optrun.optim import Optimizer
from optrun.problems import Problem
from optrun.registry import NonNegative

class MySign(Optimizer):
    """Sign descent."""
    @staticmethod
    def update(p, g, t, /, *, lr: NonNegative = 1e-2):
        from optrun.ops import sign
        p -= lr * sign(g)
'''


@pytest.mark.full
def test_a_plugin_of_ones_own_is_used_and_needed_to_resume(config, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    done = call("run", config, "optimizer=mysign", "--plugin", "mine.py")
    assert done.returncode == 0
    assert call("run", config, "optimizer=mysign").returncode == 2
    assert "Sign descent." in call("show", "MySign", "--plugin", "mine.py").stdout
    (tmp_path / "broken.py").write_text("1 / 0")
    broken = call("run", config, "--plugin", "broken.py")
    assert broken.returncode == 2
    assert "plugin 'broken.py': ZeroDivisionError" in broken.stderr


@pytest.mark.full
def test_a_failing_plugin_ends_the_run_as_failed(config, tmp_path):
    (tmp_path / "mine.py").write_text(
        PLUGIN
        + '''
from optrun.problems import Beale

class Faulty(Beale):
    """Raises at its third step."""
    calls = 0
    def loss_and_grad(self, params, grads, batch):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("the third call")
        return super().loss_and_grad(params, grads, batch)
'''
    )
    done = call("run", config, "problem=faulty", "--plugin", "mine.py", "-o", "failed")
    assert done.returncode == 1
    assert "RuntimeError: the third call" in done.stderr
    assert "Traceback" not in done.stderr
    assert optrun.load_run("failed").status == "failed"


def shell(line):
    # Unbuffered, Python would meet the error at the first print, and not again at its exit.
    buffered = {key: value for key, value in os.environ.items() if key not in (*FORCED, "PYTHONUNBUFFERED")}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=buffered)


@pytest.mark.full
@pytest.mark.parametrize("arguments", ["export {run}", "list", "--help", "show Adam"])
def test_a_closed_pipe_ends_quietly(config, arguments):
    directory = call("run", config, "-q", "steps=20000", "problem=rosenbrock").stdout.strip()
    command = f"{sys.executable} -m optrun {arguments.format(run=directory)}"
    done = shell(f"{command} | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 141
    assert not done.stderr


@pytest.mark.full
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", ["run small.yaml", "run small.yaml --json", "list", "validate small.yaml"]
)
def test_a_full_disk_behind_stdout_is_one_line_and_exit_1(config, arguments):
    done = shell(f"{sys.executable} -m optrun {arguments} > /dev/full")
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.full
@pytest.mark.parametrize("kib", [24, 60])  # too little to begin with, and too little to end with
def test_a_full_disk_under_the_run_is_one_line_and_exit_1(config, kib):
    done = shell(
        f"ulimit -f {kib}; {sys.executable} -m optrun run {config} -q steps=20000 checkpoint.every=1000"
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert re.match(r"runs\S*: results.sqlite: ", done.stderr)


@pytest.mark.full
def test_too_few_descriptors_are_one_line_and_exit_1(config):
    done = shell(f"ulimit -n 12; {sys.executable} -m optrun sweep {config} optimizer.lr=1e-3,1e-2 -j 2 -q")
    assert done.returncode == 1
    assert "too many open files" in done.stderr.lower()
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_directory_that_cannot_be_written_is_one_line_and_exit_1(config):
    path = Path(call("run", config, "-q").stdout.strip())
    (path / "results.sqlite").chmod(0o444)
    path.chmod(0o555)
    done = call("resume", path, "--steps", "2000")
    path.chmod(0o755)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_bug_is_one_line_that_says_so_and_exit_1(capsys):
    def buggy():
        raise ZeroDivisionError("division by zero")

    assert exit_code_of(buggy) == 1
    line = "this is a bug in optrun: ZeroDivisionError: division by zero"
    assert capsys.readouterr().err.startswith(line)
    reported.debug = True
    try:
        assert exit_code_of(buggy) == 1
    finally:
        reported.debug = False
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["run"], ["resume"], ["validate"], ["list"], ["show"], ["export"]])
def test_every_help_has_an_example_and_fits_80_columns(arguments):
    short, long = (CliRunner().invoke(app, [*arguments, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert max(map(len, short.stdout.splitlines())) <= 80
    assert "optrun " in short.stdout
    assert not arguments or "Example" in short.stdout


def completions(shell_name, *words):
    """Return what a shell offers for the last word; bash cuts words at their `=`."""
    variables = {
        "bash": {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": " ".join(words)},
    }[shell_name]
    done = CliRunner().invoke(
        app, prog_name="optrun", env=variables | {"_OPTRUN_COMPLETE": f"complete_{shell_name}"}
    )
    assert not done.stderr
    if shell_name == "bash":
        return done.stdout.split()
    return [word.replace(r"\\:", ":") for word in re.findall(r'"([^"]*)"', done.stdout)]


@pytest.mark.parametrize(
    ("shell_name", "words", "offered"),
    [
        ("bash", "optrun run sm", "small.yaml"),
        ("zsh", "optrun run small.yaml optimizer.na", "optimizer.name="),
        ("zsh", "optrun run small.yaml scheduler.T", "scheduler.T_max="),
        ("zsh", "optrun run small.yaml optimizer.name=Ad", "optimizer.name=AdamW"),
        ("zsh", "optrun run small.yaml seed=1 problem.data=ir", "problem.data=iris"),
        ("bash", "optrun run small.yaml optimizer.be", "optimizer.beta2="),
        ("bash", "optrun run small.yaml optimizer.name =", "Adam"),
        ("bash", "optrun run small.yaml optimizer.name = Ad", "AdamW"),
        ("bash", "optrun run small.yaml seed = 1 dtype = float", "float64"),
        ("bash", "optrun run small.yaml --progress li", "live"),
        ("bash", "optrun sweep small.yaml --executor d", "dask"),
        ("bash", "optrun resume la", "latest"),
        ("bash", "optrun resume runs/", "runs/mine"),
        ("zsh", "optrun export runs/", "runs/mine"),
        ("zsh", "optrun export runs/mine -f safe", "safetensors"),
        ("zsh", "optrun run runs/mine:", "runs/mine:best"),
        ("zsh", "optrun predict runs/mine:b", "runs/mine:best"),
        ("bash", "optrun validate sm", "small.yaml"),
        ("bash", "optrun guide sw", "sweeps"),
    ],
)
def test_the_shell_completes(config, shell_name, words, offered):
    if "runs" in words:
        optrun.run(config, directory="runs/mine", overrides=["steps=1"])
    assert offered in completions(shell_name, *words.split(" "))


def test_a_mistake_on_the_line_completes_what_it_can(tmp_path):
    (tmp_path / "bad.yaml").write_text("optimizer: [")
    assert "optimizer.name=" in completions("zsh", "optrun", "run", "bad.yaml", "optimizer.")
    assert "optimizer.name=" in completions("zsh", "optrun", "run", "missing.yaml", "optimizer.")


@pytest.mark.full
def test_the_resume_command_names_the_plugins(config, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "optrun",
            *f"run {config} optimizer=mysign steps=100000000 --plugin mine.py -o mine".split(),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    read_until_progress(process)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert "optrun resume mine --plugin mine.py" in errors


def test_a_quiet_failure_is_still_told(config):
    done = call("run", config, "problem=rosenbrock", "optimizer={name: SGD, lr: 1}", "-q")
    assert done.returncode == 1
    assert "small: diverged: loss is " in done.stderr


def test_what_only_the_problem_can_refuse_has_its_place(config):
    for arguments in (["validate", "bad.yaml"], ["run", "bad.yaml"]):
        Path("bad.yaml").write_text(CONFIG.replace("batch_size: 32", "batch_size: 9999"))
        done = call(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("bad.yaml:2:61: problem.batch_size: 9,999 is more than")


def test_a_runs_own_files_are_not_exported_over(config):
    directory = call("run", config, "-q").stdout.strip()
    assert call("export", directory, "-o", f"{directory}/results.sqlite").returncode == 2
    assert call("export", directory, "-o", f"{directory}/mine.csv").returncode == 0


@pytest.mark.full
def test_a_terminal_without_greek_letters_is_served():
    done = call("show", "Adam", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0


@pytest.mark.full
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize("command", [["run"], ["sweep", "optimizer.lr=0.01,0.02", "-j", "2"]])
@pytest.mark.parametrize("gone", ["full", "closed"])
def test_messages_that_cannot_be_written_end_nothing(command, gone, config):
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full" if gone == "full" else write, "w", closefd=True) as errors:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "optrun",
                command[0],
                config,
                *command[1:],
                "-o",
                "here",
                "--progress",
                "plain",
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert done.returncode == 0
    assert "here\n" in done.stdout
