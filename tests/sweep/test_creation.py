"""A sweep is there with its plan or not at all, whatever its first moments are cut by, and is known by it."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import optrun
from optrun.errors import StoreError
from optrun.store import Store
from tests.sweep.support import digest_of

SWEEP = """
problem: {name: quadratic, dim: 3}
optimizer: {name: SGD}
steps: 5
sweep: {parameters: {optimizer.lr: [0.01]}}
"""
TRACE = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e"]


def command(*words):
    return subprocess.run([*words], capture_output=True, text=True, timeout=120)


def optrun_with(*words):
    return command(sys.executable, "-m", "optrun", *words)


@pytest.fixture(scope="module")
def can_inject():
    if shutil.which("strace") is None or command(*TRACE, "inject=fsync:error=EIO:when=9", "true").returncode:
        pytest.skip("needs strace, and leave to use it")


def test_a_sweep_of_one_run_goes_on_as_a_sweep_after_a_kill_at_any_synchronisation(can_inject):
    Path("tiny.yaml").write_text(SWEEP)
    whole = digest_of(optrun.sweep("tiny.yaml", directory="whole"))
    made = 0
    for count in range(1, 30):
        kill = f"inject=fdatasync,fsync:signal=SIGKILL:when={count}"
        words = ["sweep", "tiny.yaml", "-j", "1", "-q", "-o", f"d{count}"]
        ended = command(*TRACE, kill, sys.executable, "-m", "optrun", *words)
        path = Path(f"d{count}")
        if ended.returncode == 0:
            break
        assert ended.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if path.exists():
            made += 1
            if made == 1:
                assert "grid, lowest final_loss first" in optrun_with("show", str(path)).stdout
                with pytest.raises(
                    StoreError, match="a sweep, which optrun.sweep or the command resume goes on"
                ):
                    optrun.resume(path)
            again = optrun_with("resume", str(path), "-q")
            assert (again.returncode, again.stdout) == (0, f"{path}\n")
            assert digest_of(path) == whole
            assert not (path / "metrics.csv").exists()
            assert (path / "summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()
    assert made > 2


def test_runs_without_a_plan_say_how_they_go_on():
    document = optrun.run({"problem": "quadratic", "optimizer": "SGD", "steps": 2}, save=False).config
    runs = [(document, 0), (document, 1)]
    Store.create(Path("runs"), "s", directory=Path("old"), config_yaml="", runs=runs).close()
    with pytest.raises(
        StoreError, match="2 runs, and no plan.*to go on: optrun sweep old/config.yaml -o old$"
    ):
        optrun.resume("old")
