"""Sweeps that are disturbed at random instants: nothing is lost, nothing differs, and no process is left.

OPTRUN_TESTS_SWEEP_RUNS, _STEPS and _KILLS ask for more than is usual: 1000, 10000 and 50 are the full series, of which
the first two make the sweep in which workers are killed long enough for one every two seconds. In a short one they are
killed by how far it is.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from optrun.store import Store
from tests.sweeps import poison
from tests.sweeps.support import digest_of

RUNS = int(os.environ.get("OPTRUN_TESTS_SWEEP_RUNS", "16"))
STEPS = int(os.environ.get("OPTRUN_TESTS_SWEEP_STEPS", "3000"))
KILLS = int(os.environ.get("OPTRUN_TESTS_SWEEP_KILLS", "2"))
IS_LONG = "OPTRUN_TESTS_SWEEP_RUNS" in os.environ
EXECUTORS = ["local", *["dask"] * IS_LONG]
SWEEP = """\
name: disturbed
problem: {{name: softmax_regression, data: iris, batch_size: 32}}
optimizer: {{name: Adam}}
steps: {steps}
record: {{every: 20}}
evaluate: {{every: 100}}
sweep:
  parameters:
    optimizer.lr: {{logspace: [1e-4, 1e-1, {rates}]}}
    problem.batch_size: [8, 16, 24, 32]
    optimizer.amsgrad: [true, false]
"""

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


@pytest.fixture(params=EXECUTORS)
def executor(request):
    if request.param == "dask":
        pytest.importorskip("distributed")
    return request.param


def write(runs, steps):
    """Write a sweep of so many runs, each with so many steps; return how many there are."""
    rates = max(1, runs // 8)
    Path("sweep.yaml").write_text(SWEEP.format(rates=rates, steps=steps))
    return rates * 8


def command(directory, executor, *more):
    options = ["-o", directory, "-j", "2", "--executor", executor, *more]
    return [sys.executable, "-m", "optrun", "sweep", "sweep.yaml", "-q", *options]


def started(directory, executor):
    """Start a sweep in a session of its own, by which its processes are known."""
    return subprocess.Popen(
        command(directory, executor),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def members(session):
    """Return the processes of a session: number and command."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError, IndexError):
            continue
    return found


def left_after(session, seconds):
    """Return the processes of a session that do not end within so many seconds."""
    until = time.monotonic() + seconds
    while (found := members(session)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def ended(directory):
    """Return how many runs have ended."""
    if not (Path(directory) / "results.sqlite").exists():
        return 0
    with Store.open(Path(directory)) as store:
        return sum(state.status.final for state in store.states())


def instants(directory, runs, done):
    """Yield when a worker is to be killed, first when runs have ended, until all is done."""
    due = 1
    while not done.wait(2.0 if IS_LONG and due > 1 else 0.01):
        if (count := ended(directory)) >= due or (IS_LONG and count):
            due = count + runs // 4
            yield


def killed_one(session, draws):
    """Kill one of the workers of a session; return whether there was one."""
    workers = sorted(pid for pid, what in members(session).items() if "spawn_main" in what)
    if not workers:
        return False
    with suppress(ProcessLookupError):
        os.kill(draws.choice(workers), signal.SIGKILL)
        return True
    return False


def whole(executor="local"):
    """Run the sweep undisturbed; return its digest and how long it took."""
    began = time.monotonic()
    subprocess.run(command(f"whole-{executor}", executor), check=True, capture_output=True)
    return digest_of(f"whole-{executor}"), time.monotonic() - began


def test_workers_that_are_killed_lose_nothing(executor):
    runs = write(RUNS, STEPS)
    digest, seconds = whole(executor)
    process = started("disturbed", executor)
    draws, killed, done = random.Random(0), [], threading.Event()

    def kill():
        for _ in instants("disturbed", runs, done):
            # One may be starting again.
            while not (is_hit := killed_one(process.pid, draws)) and not done.wait(0.01):
                pass
            killed.append(is_hit)

    thread = threading.Thread(target=kill)
    thread.start()
    began = time.monotonic()
    _, errors = process.communicate()
    took = time.monotonic() - began
    done.set()
    thread.join()
    assert process.returncode == 0, errors
    assert errors == ""
    assert any(killed)
    assert digest_of("disturbed") == digest
    with Store.open(Path("disturbed")) as store:
        assert [state.status for state in store.states()] == ["completed"] * runs
        ends = [event.run for event in store.events() if event.kind == "completed"]
        assert sorted(ends) == list(range(runs))
    print(f"{executor}: {runs} runs, {sum(killed)} kills: {took:.1f} s, undisturbed {seconds:.1f} s")


def test_a_sweep_whose_parent_is_killed_goes_on_and_leaves_no_orphan(executor):
    write(32, 1000)
    digest, seconds = whole(executor)
    draws = random.Random(1)
    for trial in range(KILLS):
        directory = f"trial-{trial}"
        process = started(directory, executor)
        try:
            process.communicate(timeout=draws.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
            assert executor != "local" or errors == "", trial
        assert not left_after(process.pid, 10.0), trial
        again = subprocess.run(command(directory, "local"), capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        assert digest_of(directory) == digest, trial


def test_a_worker_that_runs_no_python_does_not_outlive_its_parent_either():
    Path("sweep.yaml").write_text("problem: quadratic\noptimizer: Poison\nsteps: 9\n")
    rates = f"optimizer.lr=0.001,{poison.LOOPS_IN_C}"
    options = [rates, "--plugin", poison.__file__]
    process = subprocess.Popen([*command("run", "local"), *options], start_new_session=True)
    while process.poll() is None and not Path("looping").exists():
        pass
    process.kill()
    process.wait()
    assert not left_after(process.pid, 10.0)


def test_ctrl_c_at_any_instant_leaves_no_process_and_a_store_that_can_be_read(executor):
    write(32, 1000)
    digest, seconds = whole(executor)
    draws = random.Random(2)
    for trial in range(KILLS):
        directory = f"trial-{trial}"
        process = started(directory, executor)
        try:
            process.communicate(timeout=draws.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate()
            # Before Python has come to the command, the signal itself ends the process: a shell says 130 of it, too.
            assert process.returncode in (130, -signal.SIGINT, 0), (trial, errors)
            assert process.returncode == -signal.SIGINT or "Traceback" not in errors, (trial, errors)
        assert not left_after(process.pid, 5.0), trial
        if Path(directory).exists():
            with Store.open(Path(directory)) as store:
                assert len(store.states()) == 32
    again = subprocess.run(command(directory, "local"), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert digest_of(directory) == digest
