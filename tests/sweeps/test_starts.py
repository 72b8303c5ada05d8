"""A sweep that cannot start says why in one line, and leaves no directory."""

import json
import re
import socket
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import optrun
from optrun.errors import ConfigError, MissingExtraError, OptrunWarning, RunFailedError
from optrun.sweeps.workers import base, dask
from tests.sweeps import poison
from tests.sweeps.test_workers import DATA, PLUGIN, SMALL, command

FAILS_IN_WORKERS = """\
from multiprocessing import parent_process

if parent_process() is not None:
    raise {}
"""
TWO_THREADS = """\
import threading

from optrun.sweeps.workers.worker_process import Task, execute_anywhere

begun = threading.Event()


class Endless:
    spent = 0.0

    def execute(self, interrupted):
        begun.set()
        threading.Event().wait()


class Short:
    spent = 0.0

    def execute(self, interrupted):
        return []


def task(work):
    return Task(0, work, (), 1.0, ("elsewhere", 0))


threading.Thread(target=execute_anywhere, args=[task(Endless())]).start()
begun.wait()
execute_anywhere(task(Short()))
"""
COMMAND = """\
from optrun.cli.app import main

if __name__ == "__main__":
    main()
"""
SHADOW = """\
with open("executed", "a") as canary:
    print(__name__, file=canary)
"""
SHADOWED = ("types", "select", "signal", "struct", "socket", "pickle", "array", "threading", "math", "numpy")
STARTS_A_SCRIPT = """\
import subprocess
import sys

from optrun.optim import SGD


class Mine(SGD):
    def step(self, closure=None):
        subprocess.run([sys.executable, "script.py"], check=True)
        return super().step(closure)
"""
MASKED = """\
import multiprocessing
import signal
import sys

from optrun.sweeps.workers.processes import starting


def is_open():
    sys.exit(signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []))


if __name__ == "__main__":
    with starting():
        process = multiprocessing.get_context("spawn").Process(target=is_open)
        process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"jobs": 0}, r"jobs must be a whole number of 1 or more \(got 0\)"),
        ({"jobs": -2}, r"jobs must be a whole number of 1 or more \(got -2\)"),
        ({"jobs": True}, r"jobs must be a whole number of 1 or more \(got True\)"),
        ({"jobs": 1.5}, r"jobs must be a whole number of 1 or more \(got 1.5\)"),
        ({"limit": 0}, r"limit must be a whole number of 1 or more \(got 0\)"),
        ({"limit": True}, r"limit must be a whole number of 1 or more \(got True\)"),
        ({"timeout": 0}, r"timeout must be a number of seconds above 0 \(got 0\)"),
        ({"timeout": float("nan")}, r"timeout must be a number of seconds above 0 \(got nan\)"),
        (
            {"executor": ThreadPoolExecutor(1), "timeout": 1},
            "with a timeout it must be known how many workers an executor has: jobs=",
        ),
    ],
)
def test_a_choice_that_makes_no_sense_is_an_error(more, said):
    with pytest.raises(ConfigError, match=said):
        optrun.sweep(DATA, directory="here", **more)
    assert not Path("here").exists()


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "tcp://127.0.0.1", "tcp://:8786", "tcp://host:port", "host:99999", "tcp://"]
)
def test_an_address_without_a_port_is_an_error_that_shows_one(address):
    with pytest.raises(ConfigError, match=r"is tcp://HOST:8786, with its port \(got "):
        optrun.sweep(DATA, directory="here", executor="dask", address=address)
    assert not Path("here").exists()


@pytest.mark.parametrize("listens", [True, False])
def test_an_address_where_no_scheduler_answers_leaves_no_directory(listens, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if not listens:
            server.close()
        with pytest.raises(ConfigError, match=f"no Dask scheduler answers at {address}"):
            optrun.sweep(DATA, directory="here", executor="dask", address=address)
    assert not Path("here").exists()


def test_without_dask_there_is_no_directory(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError):
        optrun.sweep(DATA, directory="here", executor="dask")
    assert not Path("here").exists()


@pytest.mark.full
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            "ValueError('no worker')",
            2,
            r"plugin 'mine.py': ValueError: no worker \(.* \(in a worker process\)\n",
        ),
        ("SystemExit(3)", 2, r"plugin 'mine.py': SystemExit: 3 \(.* \(in a worker process\)\n"),
    ],
)
def test_a_plugin_that_fails_in_the_workers_is_one_line_that_names_it(error, code, said):
    Path("small.yaml").write_text(SMALL.replace("Poison", "SGD"))
    Path("mine.py").write_text(FAILS_IN_WORKERS.format(error))
    done = command("small.yaml", "optimizer.lr=0.1,0.2", "steps=9,10", "--plugin", "mine.py", "-j", "2")
    assert done.returncode == code
    note, error = done.stderr.split("\n", 1)
    assert note.startswith("note: plugin 'mine.py' registers nothing: ")
    assert re.match(said, error), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_without_jobs_a_plugin_s_run_that_aborts_ends_a_worker_and_not_the_command():
    Path("small.yaml").write_text(SMALL)
    rates = f"optimizer.lr=0.001,{poison.ABORTS}"
    done = command("small.yaml", rates, "--plugin", PLUGIN, "--progress", "plain")
    assert done.returncode == 1
    assert "its process died, 3 times" in done.stdout + done.stderr
    # Both together three times, and the one to blame twice before its last time.
    deaths = [line for line in done.stderr.splitlines() if line.startswith("a worker died")]
    assert deaths[0] == "a worker died: its pack runs again (1 time so far)"
    assert deaths[-1] == "a worker died: its pack runs again (5 times so far)"


def test_an_executor_with_fewer_workers_than_the_caller_says_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(base, "GIVE_UP_SECONDS", 0.0)

    class One(Executor):
        taken = 0

        def submit(self, function, *arguments):
            future = Future()
            self.taken += 1
            if self.taken == 1:
                future.set_running_or_notify_cancel()
            return future

    with pytest.raises(
        RunFailedError, match=r"no worker is left: each is in a pack that had no end after 0.01 s"
    ):
        optrun.sweep(DATA, executor=One(), jobs=3, timeout=0.01)


@pytest.mark.full
def test_a_timeout_ends_the_process_of_two_threads_whichever_of_them_has_no_end():
    done = subprocess.run([sys.executable, "-c", TWO_THREADS], timeout=60)
    assert done.returncode == 1


def test_dask_workers_of_several_threads_have_one_pack_each_where_its_time_may_end_them():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=False, protocol="tcp", dashboard_address=None
    )
    with cluster, dask.Connection(cluster.scheduler_address) as connection:
        rooms = []
        for timeout in (None, 5.0):
            with dask.Dask(connection, None, (), timeout) as found:
                rooms.append(found.room)
    assert rooms == [3, 1]


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="has no masks of signals")
def test_ctrl_c_does_not_come_to_the_first_process_that_is_started_either():
    Path("masked.py").write_text(MASKED)
    assert subprocess.run([sys.executable, "masked.py"], timeout=60).returncode == 0


@pytest.mark.full
@pytest.mark.parametrize("given", [("--executor", "local"), ("--executor", "dask"), ("--dry-run",)])
def test_no_worker_imports_from_the_working_directory_of_its_own_accord(given, tmp_path):
    if "dask" in given:
        pytest.importorskip("distributed")
    # Like the command `optrun`, and unlike `python -m`, which looks in the working directory itself.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "command.py").write_text(COMMAND)
    Path("small.yaml").write_text(SMALL)
    for name in SHADOWED:
        Path(f"{name}.py").write_text(SHADOW)
    arguments = ["sweep", "small.yaml", "optimizer.lr=0.001,0.002", "--plugin", PLUGIN, "-j", "2", "-q"]
    done = subprocess.run(
        [sys.executable, "bin/command.py", *arguments, *given], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.removeprefix("nothing was written\n")) == (0, "")
    assert not Path("executed").exists()


@pytest.mark.full
def test_what_a_worker_starts_is_not_isolated_with_it():
    Path("script.py").write_text("import beside\n")
    Path("beside.py").write_text("")
    Path("mine.py").write_text(STARTS_A_SCRIPT)
    Path("small.yaml").write_text(SMALL.replace("Poison", "Mine").replace("20", "1"))
    done = command("small.yaml", "optimizer.lr=0.001,0.002", "--plugin", "mine.py", "-j", "2", "--json")
    assert json.loads(done.stdout)["statuses"] == {"completed": 2}


class NoCluster:
    """A client of a scheduler that has no worker, or is gone."""

    status = "running"

    def __init__(self, nthreads):
        self.nthreads = nthreads

    def get_executor(self, pure):
        return ThreadPoolExecutor(1)

    def subscribe_topic(self, topic, note):
        pass


def test_a_cluster_without_workers_and_one_that_is_gone_are_told(monkeypatch):
    def gone():
        raise TimeoutError

    monkeypatch.setattr(dask, "MISSING_SECONDS", -1.0)
    with pytest.warns(OptrunWarning, match="the Dask scheduler has no worker yet: packs wait"):
        assert dask.Dask(SimpleNamespace(client=NoCluster(dict)), None, (), None).room == 1
    with pytest.raises(RunFailedError, match="the Dask scheduler answers no more"):
        _ = dask.Dask(SimpleNamespace(client=NoCluster(gone)), None, (), None).room


def test_a_cluster_has_room_for_its_threads_or_its_processes_and_no_more_than_jobs():
    def room(jobs, timeout):
        connection = SimpleNamespace(client=NoCluster(lambda: {"a": 2, "b": 3}))
        return dask.Dask(connection, jobs, (), timeout).room

    assert (room(None, None), room(4, None), room(9, None)) == (5, 4, 5)
    assert (room(None, 1.0), room(1, 1.0)) == (2, 1)


class Taken(Future):
    """A pack that is told at once when it is cancelled."""

    def cancel(self):
        return super().cancel() and not self.set_running_or_notify_cancel()


@pytest.fixture
def clock(monkeypatch):
    """What time it is for Dask."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(dask, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_worker_of_ours_that_is_gone_is_replaced_and_a_pack_that_none_has_is_taken_back(clock):
    workers = dask.Dask(SimpleNamespace(client=NoCluster(dict)), 2, (), None)
    closed, scaled, here = [], [], {name: SimpleNamespace(name=name, processing={}) for name in "ab"}
    workers._cluster = SimpleNamespace(
        scheduler=SimpleNamespace(workers=here),
        worker_spec={"a": 0, "b": 0},
        workers={name: SimpleNamespace(close=name) for name in "ab"},
        loop=SimpleNamespace(add_callback=closed.append),
        scale=scaled.append,
    )
    pack = Taken()
    workers._attempts[pack] = base.Attempt(7, 0.0)
    here["a"].processing = {"a pack": 1.0}
    assert not workers.wait(0.0)
    del here["b"]
    clock.now = 10.0
    assert (list(workers.wait(0.0)), closed) == ([], [])
    clock.now = 10.5
    for _ in range(2):
        assert (list(workers.wait(0.0)), closed, scaled) == ([], ["b"], [2])
    here["a"].processing = {}
    clock.now = 20.5
    assert not workers.wait(0.0)
    clock.now = 20.75
    workers._attempts[Taken()] = base.Attempt(8, 0.0)
    assert sorted(number for number, _ in workers.wait(0.0)) == [7, 8]
    workers._attempts[Taken()] = base.Attempt(9, 0.0)
    assert not workers.wait(0.0)
    here.clear()
    clock.now = 99.0
    assert not workers.wait(0.0)  # it waits for a worker


def test_that_there_has_been_no_worker_for_a_while_is_told(clock):
    client = NoCluster(dict)
    workers = dask.Dask(SimpleNamespace(client=client), None, (), None)
    for now, there in ((5.0, {}), (6.0, {"a": 1}), (11.0, {})):
        client.nthreads, clock.now = there.copy, now
        assert workers.room == 1
    clock.now = 11.5
    with pytest.warns(OptrunWarning, match="no worker yet: packs wait"):
        assert workers.room == 1


@pytest.mark.parametrize(
    ("timeout", "ran", "found"),
    [
        (4.0, 2.25, "DIED"),
        (4.0, 2.5, "TIMED_OUT"),
        (1.5, 0.125, "DIED"),
        (1.5, 0.25, "TIMED_OUT"),
        (None, 9.0, "DIED"),
    ],
)
def test_a_worker_of_dask_has_ended_itself_where_the_time_of_its_pack_was_over(timeout, ran, found, clock):
    workers = dask.Dask(SimpleNamespace(client=NoCluster(dict)), 1, (), timeout)
    workers._note((0.0, 7))
    clock.now = ran
    future = Future()
    future.set_exception(BrokenExecutor())
    assert workers._outcome(base.Attempt(7, 1.0), future) is base.Failure[found]
