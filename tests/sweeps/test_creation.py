"""A sweep is there with its plan, or with the one before, whatever its first moments are cut by, and is known by it."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import optrun
from optrun.errors import StoreError
from optrun.store import Store
from tests.sweeps.support import digest_of

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


@pytest.mark.full
def test_a_sweep_of_one_run_goes_on_as_a_sweep_after_a_kill_at_any_synchronisation(can_inject):
    Path("tiny.yaml").write_text(SWEEP)
    whole = digest_of(optrun.sweep("tiny.yaml", directory="whole"))
    made = 0
    for count in range(1, 30, 2):
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
                assert "method grid, ranked by the lowest final_loss" in optrun_with("show", str(path)).stdout
                with pytest.raises(
                    StoreError, match="a sweep: continue it with optrun.sweep or the command resume"
                ):
                    optrun.resume(path)
                again = optrun_with("resume", str(path), "-q")
                assert (again.returncode, again.stdout) == (0, f"{path}\n")
            optrun.sweep(path / "config.yaml", directory=path)
            assert digest_of(path) == whole
            assert not (path / "metrics.csv").exists()
            assert (path / "summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()
    assert made > 1


@pytest.mark.full
def test_a_sweep_that_grows_goes_on_with_one_plan_or_the_other_after_a_kill_at_any_call(can_inject):
    Path("small.yaml").write_text(SWEEP.replace("[0.01]", "[0.02, 0.04]"))
    Path("large.yaml").write_text(SWEEP.replace("[0.01]", "[0.01, 0.02, 0.03]"))
    optrun.sweep("small.yaml", directory="small")
    optrun.sweep("large.yaml", directory="large")
    ends = {digest_of("small"): 2, digest_of("large"): 3}
    came = []
    for count in range(1, 60, 9):
        shutil.copytree("small", path := f"d{count}")
        kill = f"inject=fdatasync,fsync,pwrite64:signal=SIGKILL:when={count}"
        words = ["sweep", "large.yaml", "--limit", "1", "-j", "1", "-o", path]
        ended = command(
            *TRACE[:-2], "trace=fdatasync,fsync,pwrite64", "-e", kill, sys.executable, "-m", "optrun", *words
        )
        if ended.returncode == 0:
            assert ended.stderr.startswith(
                "1 of 3 runs are there from before; 1 that it asks for no more is kept aside\n"
            )
            break
        optrun.sweep(Path(path, "config.yaml"), directory=path)
        came.append(ends[digest_of(path)])
        assert optrun.sweep("large.yaml", directory=path).executed == {2: 2, 3: 0}[came[-1]]
        assert digest_of(path) == digest_of("large")
        assert optrun.sweep("small.yaml", directory=path).executed == 0
    assert came == sorted(came)
    assert set(came) == {2, 3}


def test_runs_without_a_plan_say_how_they_go_on():
    document = optrun.run({"problem": "quadratic", "optimizer": "SGD", "steps": 2}, save=False).config
    runs = [(document, 0), (document, 1)]
    Store.create(Path("runs"), "s", directory=Path("old"), config_yaml="", runs=runs).close()
    with pytest.raises(
        StoreError, match="2 runs, but no plan.*to continue: optrun sweep old/config.yaml -o old$"
    ):
        optrun.resume("old")
