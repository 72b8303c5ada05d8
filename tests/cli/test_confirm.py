"""What commands show of a sweep's confirmation."""

import json
import signal
import xml.etree.ElementTree as ElementTree
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

import optrun
from optrun.cli.live import sweep_progress
from optrun.cli.live.watch_sweep import _is_confirming
from optrun.store import Status, Store
from tests.cli.looking import CONFIG, call  # noqa: F401

SWEEP = (
    CONFIG
    + """\
sweep:
  parameters:
    optimizer.name: [SGD, Adam]
    optimizer.lr: [0.001, 0.1]
  repeats: 2
  metric: {name: test_accuracy, goal: maximize}
  confirm: {seeds: 3}
"""
)
PATH = "runs/x"
IN = ("-o", PATH, "-j", "1")
pytestmark = pytest.mark.usefixtures("file")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "s.yaml").write_text(SWEEP)


def test_the_confirmation_has_its_table_below_that_of_the_sweep(call):  # noqa: F811
    done = call("sweep", "s.yaml", *IN)
    lines = done.out.splitlines()
    assert lines[5].startswith("without training: ")
    assert lines[6] == "confirmed on 3 fresh seeds: optrun show runs/x/confirm"
    assert lines[7].split() == ["optimizer", "lr", "test_accuracy", "quartiles", "run"]
    assert [line.split()[1] for line in lines[8:10]] in (["SGD", "Adam"], ["Adam", "SGD"])
    assert lines[10].startswith("without training: ")
    assert lines[11:] == [PATH]
    assert (done.code, "confirming: 6/6 runs" in done.err) == (0, True)
    assert "8/8 runs" in done.err
    first = lines[8].split()[-1].partition("–")[0]
    assert f"next: optrun show {PATH}/confirm:{first}\n" in done.err
    again = call("sweep", "s.yaml", *IN)
    assert (again.code, again.out) == (0, done.out)
    assert "nothing is left to run: 14 runs ended before\n" in again.err
    shown = call("show", f"{PATH}/confirm").out
    assert lines[7:10] == [line for line in shown.splitlines() if line in lines[7:10]]
    assert call("sweep", "s.yaml", *IN, "-q").out == f"{PATH}\n"


def test_json_has_the_confirmation_as_a_sweep_of_its_own(call):  # noqa: F811
    found = json.loads(call("sweep", "s.yaml", *IN, "--json").out)
    confirmed = found["confirmed"]
    assert (confirmed["sweep"], confirmed["runs"], confirmed["left"]) == (f"{PATH}/confirm", 6, 0)
    assert confirmed["table"] == optrun.load_sweep(PATH).confirmed.table()
    off = json.loads(call("sweep", "s.yaml", *IN, "--json", "sweep.confirm=null").out)
    assert off["confirmed"] is None


@pytest.mark.full
def test_the_commands_for_a_sweep_are_those_for_its_confirmation(call):  # noqa: F811
    call("sweep", "s.yaml", *IN)
    inner = f"{PATH}/confirm"
    for command in (["watch"], ["ls"], ["curves"], ["export"], ["resume"], ["show", "--json"]):
        done = call(command[0], inner, *command[1:])
        assert (done.code, bool(done.out)) == (0, True), done.err
    assert call("show", f"{inner}:0").code == 0
    assert call("diff", f"{PATH}:0", f"{inner}:0").code == 0


def test_the_list_of_runs_has_the_sweep_alone(call):  # noqa: F811
    call("sweep", "s.yaml", *IN)
    assert [each["path"] for each in json.loads(call("ls", "--json").out)] == [PATH]
    assert call("show", "latest").out.splitlines()[1] == PATH


def test_a_dry_run_tells_how_many_runs_follow(call):  # noqa: F811
    done = call("sweep", "s.yaml", *IN, "-n", "sweep.confirm.top=2")
    assert "\nthen 12 runs more, which confirm the best settings on fresh seeds\n" in done.out
    assert json.loads(call("sweep", "s.yaml", *IN, "-n", "--json").out)["confirming"] == 6
    assert "confirm" not in call("sweep", "s.yaml", *IN, "-n", "sweep.confirm=null").out


@pytest.mark.full
def test_what_the_confirmation_lacks_is_shown_and_made_by_resume(call):  # noqa: F811
    call("sweep", "s.yaml", *IN, "sweep.confirm=null")
    assert "confirmation" not in call("show", PATH).out
    call("sweep", "s.yaml", *IN, "--limit", "1")
    done = call("show", PATH)
    assert (
        "\nconfirmation on fresh seeds: completed, 6 of 6 runs ended: optrun show runs/x/confirm\n"
        in done.out
    )
    with Store.open(Path(PATH, "confirm"), write=True) as store:
        store.reset([1, 2])
    done = call("show", PATH)
    assert (
        "\nconfirmation on fresh seeds: interrupted, 4 of 6 runs ended: optrun show runs/x/confirm\n"
        in done.out
    )
    assert done.err == f"next: optrun resume {PATH}\n"
    listed = call("ls", "runs")
    assert "confirmation interrupted (4 of 6 runs)" in listed.out
    assert listed.err == f"next: optrun resume {PATH}\n"
    (found,) = json.loads(call("ls", "runs", "--json").out)
    assert [found["confirmation"][key] for key in ("status", "ended", "runs")] == ["interrupted", 4, 6]
    assert "interrupted, 4 of 6 runs ended" in call("watch", PATH).out
    resumed = call("resume", PATH)
    assert (resumed.code, "confirming: 6/6 runs" in resumed.err) == (0, True)
    assert json.loads(call("show", PATH, "--json").out)["confirmation"]["ended"] == 6
    assert ", confirmed" in call("ls", "runs").out


def test_a_confirmation_that_goes_on_is_watched_after_its_sweep(call):  # noqa: F811
    call("sweep", "s.yaml", *IN)
    path = Path(PATH)
    assert not _is_confirming(path)
    with Store.open(path / "confirm", write=True) as store:
        store.reset([1, 2])
    (path / "confirm").rename("aside")
    with Store.open(path, write=True), ExitStack() as stack:
        # It has not begun: its directory comes while its start is waited for.
        def begin(seconds):
            Path("aside").rename(path / "confirm")
            stack.enter_context(Store.open(path / "confirm", write=True))

        assert _is_confirming(path, begin)
    # Its writer is gone.
    assert not _is_confirming(path)


def test_a_sweep_that_is_removed_takes_its_confirmation_along(call, tmp_path):  # noqa: F811
    call("sweep", "s.yaml", *IN)
    with Store.open(Path(PATH, "confirm"), write=True):
        kept = call("clean", "--older-than", "0m", "-y")
    assert (kept.code, "its confirmation is being written" in kept.err) == (1, True)
    assert (tmp_path / PATH / "confirm").exists()
    assert call("clean", "--older-than", "0m", "-y").code == 0
    assert not (tmp_path / PATH).exists()


def test_expectations_hold_for_the_confirmation_too(call):  # noqa: F811
    # No accuracy is that high.
    done = call("sweep", "s.yaml", *IN, "--junit", "report.xml", "expect.test_accuracy.min=1.1")
    assert done.code == 4
    assert sum("(run " in line for line in done.err.splitlines()) == 5
    assert "… 14 missed expectations in all" in done.err
    suite = ElementTree.parse("report.xml").getroot()
    names = [case.get("classname") for case in suite.iter("testcase")]
    assert sum(name.endswith("sweep setting of the confirmation") for name in names) == 2
    assert sum(name.endswith("sweep setting") for name in names) == 4


def test_an_interrupted_confirmation_is_told_and_the_same_command_goes_on(call, monkeypatch):  # noqa: F811
    shown = sweep_progress._count

    def interrupt(now):
        if now.confirms:
            signal.raise_signal(signal.SIGINT)
        return shown(now)

    with monkeypatch.context() as patched:
        patched.setattr(sweep_progress, "_count", interrupt)
        part = call("sweep", "s.yaml", *IN)
    assert part.code == 128 + signal.SIGINT
    left = "0 of 6 runs of the confirmation ended, 6 left"
    assert f"\ninterrupted: {left}: the same command continues\n" in part.err
    assert part.err.endswith("next: optrun sweep s.yaml -o runs/x -j 1\n")
    again = call("sweep", "s.yaml", *IN)
    assert (again.code, "confirming: 6/6 runs" in again.err) == (0, True)


def test_a_failed_run_of_the_confirmation_is_told(call):  # noqa: F811
    call("sweep", "s.yaml", *IN)
    with Store.open(Path(PATH, "confirm"), write=True) as store:
        store.commit(states={4: replace(store.states()[4], status=Status.FAILED, reason="no luck")})
    done = call("sweep", "s.yaml", *IN)
    assert (done.code, "\nrun 4 of the confirmation failed: no luck\n" in done.err) == (1, True)
    assert call("sweep", "s.yaml", *IN, "--retry-failed").code == 0


def test_a_smoke_test_confirms_nothing(call):  # noqa: F811
    done = call("sweep", "s.yaml", "--smoke", "-j", "1")
    assert (done.code, "confirm" in done.out + done.err) == (0, False)


def test_nothing_that_varies_is_a_mistake_before_anything_runs(call, tmp_path):  # noqa: F811
    text = SWEEP.replace("optimizer.name: [SGD, Adam]", "optimizer: [SGD, Adam]").replace(
        "optimizer.lr", "steps"
    )
    (tmp_path / "s.yaml").write_text(
        text.replace("[0.001, 0.1]", "[5, 10]").replace("{seeds: 3}", "{by: optimizer.x}")
    )
    for command in ("validate", "sweep"):
        done = call(command, "s.yaml")
        assert (done.code, done.out) == (2, "")
        assert "s.yaml:13:17: sweep.confirm.by: no setting has optimizer.x" in done.err
    assert not (tmp_path / "runs").exists()
