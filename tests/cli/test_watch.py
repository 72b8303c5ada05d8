"""A run followed from another terminal."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from optrun.cli.watching import follow, read_run
from optrun.errors import StoreError
from optrun.store import RunState, Status, Store
from tests.cli.looking import call, run
from tests.cli.test_inspect import DIVERGING, killed

__all__ = ["call", "run"]


def test_watch_prints_a_line_for_each_commit_and_ends_with_the_run(call, run):
    path = run()
    assert call("watch", path).out.startswith("small: completed after 30 steps")
    gone = killed()
    done = call("watch", "latest")
    assert done.code == 1
    assert done.out.startswith("gone: killed")
    assert f"optrun resume {gone}" in done.err
    assert call("watch", run(*DIVERGING)).code == 1


def test_a_run_is_read_again_only_after_a_commit(monkeypatch):
    with Store.create(Path("runs"), "w", config_yaml="", runs=[({"name": "w", "steps": 9}, 0)]) as store:
        opened = []
        real = Store.open.__func__
        monkeypatch.setattr(
            Store, "open", classmethod(lambda cls, *a, **k: opened.append(1) or real(cls, *a, **k))
        )
        polls = iter(range(100))

        def wait(_):
            if next(polls) == 5:
                curve = {"step": [0], "loss": [1.0], "lr": [0.1]}
                store.commit(curves={0: curve}, states={0: RunState(status=Status.RUNNING, steps=1)})
            if next(polls) > 10:
                store.commit(states={0: RunState(status=Status.COMPLETED, steps=1)})

        seen = [(each.status, each.record.steps) for each in follow(store.path, wait, read=read_run)]
    assert seen[0] == ("running", 0)
    assert seen[-1] == ("completed", 1)
    assert len(opened) < len(seen)


def test_on_a_terminal_watch_restores_the_screen_and_colours_obey_no_color(run):
    path = run()
    command = [sys.executable, "-m", "optrun", "ls"]
    for no_color, coloured in (("", True), ("1", False)):
        output = on_terminal(command, TERM="xterm-256color", NO_COLOR=no_color, COLUMNS="80")
        assert path.name in output
        assert ("\x1b[32m" in output) is coloured
        assert max(len(re.sub("\x1b[^m]*m", "", line)) for line in output.splitlines()) <= 80
    output = on_terminal([*command[:-1], "watch", str(path)], TERM="xterm-256color")
    assert output.count("\x1b[?1049h") == output.count("\x1b[?1049l") == 1
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")


def on_terminal(command, **environment):
    """Return what a command writes to a terminal."""
    leader, follower = pty.openpty()
    clean = {
        key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "GITHUB_ACTIONS", "CI")
    }
    child = subprocess.Popen(
        command, stdout=follower, stderr=subprocess.DEVNULL, env={**clean, **environment}
    )
    os.close(follower)
    chunks = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    child.wait()
    os.close(leader)
    return b"".join(chunks).decode()


def test_watch_needs_a_run_directory(call):
    Path("runs/half").mkdir(parents=True)
    Path("runs/half/config.yaml").touch()
    done = call("watch", "runs/half")
    assert done.code == 2
    assert "runs/half: not a run directory" in done.err


def test_watch_of_a_run_that_is_removed_says_so():
    with Store.create(Path("runs"), "w", config_yaml="", runs=[({"name": "w"}, 0)]) as store:
        polls = follow(store.path, lambda _: shutil.rmtree(store.path), read=read_run)
        assert next(polls).status == "running"
        with pytest.raises(StoreError, match="not a run directory"):
            next(polls)
