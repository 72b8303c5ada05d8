"""The README and the help are true: every command, config and Python block shown there is run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from optrun.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("optrun ")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder like the repository's root, with the sweep of the README and one run in it."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "configs").symlink_to(ROOT / "configs")
    sweep = "sweep configs/digits_lr_sweep.yaml -o runs/lr -q"
    subprocess.run(optrun(sweep), cwd=folder, check=True, capture_output=True)
    subprocess.run(optrun("run configs/digits_mlp.yaml -q"), cwd=folder, check=True, capture_output=True)
    return folder


def optrun(line):
    return [sys.executable, "-m", "optrun", *shlex.split(line)]


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command, checkout):
    if command.startswith("optrun plot"):
        pytest.importorskip("matplotlib")
    for method, package in (("sobol", "scipy"), ("optuna", "optuna")):
        if f"method={method}" in command:
            pytest.importorskip(package)
    done = subprocess.run(
        optrun(command.removeprefix("optrun ")), cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_the_configs_of_the_readme_are_valid_or_refused_as_it_says(checkout):
    first, bad, *others = blocks("yaml")
    (checkout / "bad.yaml").write_text(bad)
    for good in (first, *others):
        (checkout / "good.yaml").write_text(good)
        assert subprocess.run(optrun("validate good.yaml"), cwd=checkout, capture_output=True).returncode == 0
    said = subprocess.run(optrun("validate bad.yaml"), cwd=checkout, capture_output=True, text=True)
    assert f"$ optrun validate bad.yaml\n{said.stderr}" in README


@pytest.mark.full
def test_the_python_of_the_readme_runs(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    first, second, rule = blocks("python")
    names = {}
    exec(first, names)
    assert names["run"].status == "completed"
    exec(second, {})
    (checkout / "signum.py").write_text(rule)
    command = "run configs/digits_mlp.yaml optimizer=Signum steps=20 -q --plugin signum.py"
    assert subprocess.run(optrun(command), cwd=checkout, capture_output=True).returncode == 0


def helps():
    commands = get_command(app).commands
    return [(name, command.help or "") for name, command in commands.items()]


@pytest.mark.parametrize(("name", "text"), helps())
def test_every_help_has_an_example_of_its_command(name, text):
    assert re.search(rf"Examples?: optrun {name}\b", text)


def test_every_command_is_in_the_readme():
    for name, _ in helps():
        assert re.search(rf"`(optrun )?{name}\b", README), name
