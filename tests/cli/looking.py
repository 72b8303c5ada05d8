"""Commands called within this process, and small runs for them to look at."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import optrun
from optrun.cli.app import app
from optrun.cli.exits import exit_code_of

CONFIG = """\
name: small
problem: {name: softmax_regression, data: iris, batch_size: 32}
optimizer: {name: Adam, lr: 1e-2}
scheduler: {name: CosineAnnealingLR, T_max: 30}
steps: 30
evaluate: {every: 10}
"""


def read_until_progress(process: subprocess.Popen[str]) -> None:
    """Read messages until a line of progress: the steps have begun, whatever is said before."""
    assert process.stderr is not None
    while "steps/s" not in (line := process.stderr.readline()):
        assert line, "the run has ended"


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys, monkeypatch):
    """Return a function that calls a command as a shell would, with pipes for stdout and stderr."""
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        capsys.readouterr()
        code = exit_code_of(lambda: app([str(argument) for argument in arguments]))
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a small config and returns the directory."""
    (tmp_path / "small.yaml").write_text(CONFIG)

    def small(*overrides) -> Path:
        return optrun.run("small.yaml", overrides=overrides).path

    return small
