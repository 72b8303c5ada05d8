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
from rich.console import Console

import optrun
from optrun.analysis.leaderboard import SweepPlan, leaderboard
from optrun.cli.live import watch_run
from optrun.cli.live.watch_run import follow, read_run
from optrun.cli.live.watch_sweep import frame, read_sweep, settings_that_fit
from optrun.cli.text import setting_table
from optrun.cli.text.setting_table import Labels
from optrun.cli.views.sweep_overview import SweepView, progress_text
from optrun.errors import StoreError
from optrun.store import RunState, Status, Store
from optrun.store.states import States
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
            if next(polls) == 4:
                curve = {"step": [0], "loss": [1.0], "lr": [0.1]}
                store.commit(curves={0: curve}, states={0: RunState(status=Status.RUNNING, steps=1)})
            if next(polls) > 10:
                store.commit(states={0: RunState(status=Status.COMPLETED, steps=1)})

        seen = [(each.status, each.record.steps) for each in follow(store.path, wait, read=read_run)]
    assert seen[0] == ("running", 0)
    assert seen[-1] == ("completed", 1)
    assert len(opened) < len(seen)


@pytest.mark.full
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


def test_a_run_that_has_stored_nothing_says_when_its_rows_come(capsys):
    config = {"name": "w", "steps": 9, "checkpoint": {"every": "30s"}}
    with (
        Store.create(Path("runs"), "w", config_yaml="", runs=[(config, 0)]) as store,
        watch_run._view(store.path) as show,
    ):
        show(read_run(store.path))
    said = "step 0 of 9  no rows yet: they come with each checkpoint, every 30s\n"
    assert capsys.readouterr().out == said


def test_watch_of_a_run_that_is_removed_says_so():
    with Store.create(Path("runs"), "w", config_yaml="", runs=[({"name": "w"}, 0)]) as store:
        polls = follow(store.path, lambda _: shutil.rmtree(store.path), read=read_run)
        assert next(polls).status == "running"
        with pytest.raises(StoreError, match="not a run directory"):
            next(polls)


def ended(loss, status=Status.COMPLETED, reason=""):
    return RunState(status=status, reason=reason, steps=5, summary={"final_loss": loss})


@pytest.fixture
def going():
    """A sweep of three settings with two seeds, of which nothing has ended, open for writing."""
    runs = [({"name": "many", "steps": 9}, seed) for seed in range(6)]
    with Store.create(Path("runs"), "many", config_yaml="", runs=runs) as store:
        settings = [{"optimizer.lr": lr} for lr in (0.1, 1.0, 10.0)]
        store.log("plan", settings=settings, repeats=2, metric={"name": "final_loss", "goal": "minimize"})
        store.commit()
        yield store


def test_a_sweep_is_followed_until_its_last_run(going):
    ends = [
        {0: ended(3.0), 1: ended(5.0)},
        {2: ended(1.0), 3: ended(None, Status.DIVERGED)},
        {4: ended(9.0), 5: ended(None, Status.FAILED, "no luck")},
    ]
    commits = iter(ends)
    views = list(follow(going.path, lambda _: going.commit(states=next(commits)), read=read_sweep))
    assert [(view.ended, view.status) for view in views] == [
        (0, "running"),
        (2, "running"),
        (4, "running"),
        (6, "completed"),
    ]
    assert [progress_text(view) for view in views] == [
        "0/6 runs",
        "2/6 runs  best final_loss 4 lr=0.1",
        "4/6 runs  best final_loss 4 lr=0.1  1 diverged",
        "6/6 runs  best final_loss 4 lr=0.1  1 diverged  1 failed",
    ]
    assert read_sweep(going.path).standings[0].setting == {"optimizer.lr": 0.1}


@pytest.mark.parametrize(("width", "height", "most"), [(80, 20, 19), (60, 20, 6), (30, 20, 3), (30, 3, 1)])
def test_settings_that_are_watched_fit_the_terminal_and_can_be_told_apart(width, height, most, monkeypatch):
    def setting(lr):
        optimizer = {"name": "Adam", "weight_decay": 0.0123456, "amsgrad": True} if lr < 40 else "Adam"
        return {"optimizer": optimizer, "optimizer.lr": float(lr), "problem": "softmax_regression"}

    plan = SweepPlan([setting(lr) for lr in range(50)], 1, "test_accuracy", True)
    states = [RunState(status=Status.COMPLETED, summary={"test_accuracy": 1 / (lr + 1)}) for lr in range(50)]
    view = SweepView("s", "running", plan, States.of(states), leaderboard(plan, states))
    out = Console(width=width, height=40)
    monkeypatch.setattr(setting_table, "console", lambda: out)
    with out.capture() as captured:
        out.print(frame(Path("runs/s"), view, 1.0, Console(width=width, height=height)))
    whole = captured.get()
    assert whole.count("\n") <= height or most == 1
    assert f"best test_accuracy 1 {Labels(plan.settings).text(plan.settings[0])}" in " ".join(whole.split())
    made = settings_that_fit(view, height, out)
    with out.capture() as captured:
        out.print(made)
    lines = captured.get().splitlines()
    assert len(lines) <= height or most == 1
    words = [word.removeprefix("lr=") for word in " ".join(lines).split()]
    (shown,) = made.renderables
    assert shown.row_count == most
    assert all(words.count(str(lr)) for lr in range(most))


@pytest.mark.parametrize(("height", "problems"), [(40, 5), (9, 2)])
def test_of_several_problems_as_many_are_watched_as_fit(height, problems, monkeypatch):
    settings = [{"problem.dim": dim, "optimizer.lr": float(lr)} for dim in range(5) for lr in range(4)]
    labels = [f"quadratic dim={dim}" for dim in range(5) for _ in range(4)]
    plan = SweepPlan(settings, 1, "final_loss", False, problems=labels)
    states = [RunState(status=Status.COMPLETED, summary={"final_loss": 1.0 + run}) for run in range(20)]
    view = SweepView("s", "running", plan, States.of(states), leaderboard(plan, states))
    out = Console(width=80, height=40)
    monkeypatch.setattr(setting_table, "console", lambda: out)
    with out.capture() as captured:
        out.print(settings_that_fit(view, height, out))
    assert captured.get().count("\n") <= height
    assert captured.get().count("quadratic") == problems
    best = "1 (quadratic dim=0), 5 (quadratic dim=1), 9 (quadratic dim=2), … 2 more"
    assert progress_text(view) == f"20/20 runs  best final_loss {best}"


def test_what_is_said_of_a_sweep_that_goes_on_or_has_failures(call, going):
    shown = call("show", going.path)
    assert shown.out.startswith("many: running, 6 runs: 6 left (6 running)\n")
    assert shown.err == f"next: optrun watch {going.path}\n"
    assert "0 of 6 runs over optimizer.lr" in call("ls").out
    assert "no run has ended" in call("curves", going.path, "--kind", "sensitivity").err
    assert "none of its runs has ended" in call("curves", going.path).err
    assert call("clean", "--status", "running", "-y").out == "no such runs in runs\n"
    going.commit(states={run: ended(None, Status.FAILED, "no luck") for run in range(6)})
    going.close()
    watched = call("watch", going.path)
    assert watched.code == 1
    assert "6 failed: no luck" in watched.out
    assert call("show", going.path).out == watched.out
    assert "removed 1 run" in call("clean", "--failed", "-y").out


@pytest.mark.full
def test_a_sweep_on_a_terminal_is_drawn_and_the_screen_restored():
    sweep = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 3, "sweep": {"repeats": 3}}
    path = optrun.sweep(sweep).path
    output = on_terminal([sys.executable, "-m", "optrun", "watch", str(path)], TERM="xterm-256color")
    assert output.count("\x1b[?1049h") == output.count("\x1b[?1049l") == 1
    assert "3/3 runs" in output
