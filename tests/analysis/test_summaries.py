"""One line about a run directory, whatever its condition."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from optrun.analysis import summaries as summaries_module
from optrun.analysis.summaries import file_sizes, summaries, summary_of
from optrun.store import RunState, Status, Store

KILLED = """
import os, signal, sys, optrun
def observe(now):
    print(now.step, flush=True)
    sys.stdin.read()
optrun.run({"problem": "rosenbrock", "optimizer": "SGD", "steps": 10**9}, directory="doomed", observe=observe)
"""


def test_a_finished_run(small):
    summary = summary_of(small())
    assert (summary.status, summary.name, summary.problem) == ("completed", "small", "rosenbrock")
    assert (summary.optimizer, summary.steps) == ("SGD", 20)
    assert summary.final_loss > 0
    assert summary.to_dict()["created"].endswith("+00:00")


@pytest.mark.full
def test_running_is_told_from_killed():
    child = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        assert summary_of(Path("doomed")).status == "running"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert summary_of(Path("doomed")).status == "killed"
    finally:
        child.kill()
        child.communicate()


def test_a_broken_directory_says_why_and_hides_no_other(small):
    whole = small()
    for name, content in (("runs/empty", None), ("runs/garbage", b"x" * 5000)):
        Path(name).mkdir()
        (Path(name) / "config.yaml").touch()
        if content:
            (Path(name) / "results.sqlite").write_bytes(content)
    found = {summary.path.name: summary for summary in summaries(Path("runs"))}
    assert found.keys() == {"empty", "garbage", whole.name}
    assert found["empty"].status == found["garbage"].status == "broken"
    assert found["empty"].reason
    assert [each.path for each in summaries(Path("runs"), ("completed",))] == [whole]


def test_what_a_terminal_would_obey_is_taken_out():
    with Store.create(
        Path("runs"),
        "x",
        config_yaml="",
        runs=[({"name": "a\x1b[2J\u202eb", "problem": {"name": "\x07"}, "optimizer": 3}, 0)],
    ) as store:
        store.commit(states={0: RunState(status=Status.FAILED, reason="\x1b]0;owned\x07")})
        path = store.path
    summary = summary_of(path)
    text = summary.name + summary.problem + summary.reason
    assert text.isprintable()
    assert summary.optimizer == ""


def test_a_run_that_is_removed_meanwhile_is_left_out(small):
    older, newer = small(), small()
    found = summaries(Path("runs"))
    assert next(found).path == newer
    shutil.rmtree(older)
    assert list(found) == []


def test_a_killed_run_that_is_removed_while_it_is_read_is_broken(monkeypatch):
    with Store.create(Path("runs"), "x", config_yaml="", runs=[({"name": "x"}, 0)]) as store:
        path = store.path
    read = Store.events

    def removed(self, *kind):
        events = read(self, *kind)
        shutil.rmtree(path, ignore_errors=True)
        return events

    monkeypatch.setattr(Store, "events", removed)
    assert summary_of(path).status == "broken"
    assert file_sizes(path) == {}


def test_a_record_that_no_check_foresaw_hides_no_other(small, monkeypatch):
    paths = {small() for _ in range(2)}
    bad = min(paths)
    real = summaries_module.state_of

    def stumbles(store, record):
        if store.path == bad:
            raise OverflowError("int too large")
        return real(store, record)

    monkeypatch.setattr(summaries_module, "state_of", stumbles)
    found = {each.path.name: each for each in summaries(bad.parent)}
    assert found[bad.name].status == "broken"
    assert found[bad.name].reason == "damaged: OverflowError: int too large"
    assert {each.status for name, each in found.items() if name != bad.name} == {"completed"}
