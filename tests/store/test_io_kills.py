"""A run and a sweep that are killed at any call that writes go on, and leave the same bytes and nothing else.

OPTRUN_TESTS_IO_STRIDE=1 asks for every call, where usually it is every seventieth.
"""

import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from optrun.store import directory
from tests.forked import python
from tests.sweeps.support import digest_of

STRIDE = int(os.environ.get("OPTRUN_TESTS_IO_STRIDE", "70"))
CALLS = ["mkdir", "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink"]
CONFIG = """\
name: short
problem: beale
optimizer: SGD
steps: 30
checkpoint: {every: 10}
"""
COMMANDS = {
    "run": (["run", "short.yaml"], "metrics.csv"),
    "packs": (["sweep", "packs.yaml", "-j", "1"], "summary.csv"),
    "sweep": (["sweep", "short.yaml", "optimizer.lr=1e-4,1e-3", "seed=0,1", "-j", "1"], "summary.csv"),
}

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills at a call"),
]


def optrun(*arguments):
    return python("-m", "optrun", *arguments, "-q")


def traced(inject, *arguments):
    return subprocess.run(
        ["strace", "-f", "-o", "/dev/null", *inject, sys.executable, "-m", "optrun", *arguments, "-q"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize(
    ("kind", "call"),
    # What is stored as columns differs in what is written to the database alone.
    [(kind, call) for kind in COMMANDS for call in (["pwrite64"] if kind == "packs" else CALLS)],
)
def test_a_kill_at_a_call_that_writes_costs_nothing_and_leaves_nothing(kind, call, monkeypatch):
    command, table = COMMANDS[kind]
    Path("short.yaml").write_text(CONFIG)
    Path("packs.yaml").write_text(
        f"{CONFIG}sweep: {{parameters: {{optimizer.lr: {{logspace: [1e-4, 1e-3, 70]}}}}}}\n"
    )
    assert optrun(*command, "-o", "whole").returncode == 0
    whole = digest_of("whole"), Path("whole", table).read_bytes()
    for number in count(1, STRIDE):
        here = f"{call}-{number}"
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
        killed = traced(inject, *command, "-o", here)
        if killed.returncode == 0:
            break
        assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), killed.stderr
        # Where nothing is there yet, it is the same command.
        again = optrun("resume", here) if Path(here).exists() else optrun(*command, "-o", here)
        assert again.returncode == 0, (number, again.stderr)
        assert (digest_of(here), Path(here, table).read_bytes()) == whole, number
        assert sorted(os.listdir(here)) == sorted(os.listdir("whole")), number
    monkeypatch.setattr(directory, "YOUNG_SECONDS", -1.0)
    directory.collect(Path())
    assert not [name for name in os.listdir() if name.startswith(".")]
