"""A run goes on with the data, the code and the config with which it began, wherever its project lies by now."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import optrun
from optrun.analysis.run_difference import run_difference
from optrun.cli.app import app
from optrun.errors import ChangedError, ConfigError, OptrunWarning
from optrun.plugins import load_plugin
from optrun.registry import optimizers
from optrun.store import Store
from optrun.training.identity import Identity
from optrun.training.provenance import check_identity, earlier_identities, identity_of_store
from tests.registries import restore_after

RULE = '''
from optrun.optim import Optimizer
class Doubled(Optimizer):
    """A step of twice the rate."""
    @staticmethod
    def update(p, g, t, /, *, lr: float = 1e-3):
        p -= {factor} * lr * g
'''

CONFIG = """
name: x
problem: {{name: mlp, data: d.csv, hidden: [4]}}
optimizer: {{name: {optimizer}, lr: 0.01}}
steps: 40
checkpoint: {{every: 10}}
"""


CONFIG_OF_DATA = {
    "problem": {"name": "mlp", "data": "d.csv", "hidden": [4]},
    "optimizer": {"name": "SGD", "lr": 0.01},
    "steps": 40,
}


@pytest.fixture(autouse=True)
def _no_plugin_stays(monkeypatch):
    restore_after(monkeypatch, optimizers)


def write_data(samples=60):
    rows = np.random.default_rng(0).normal(size=(samples, 4))
    np.savetxt("d.csv", rows, delimiter=",", header="a,b,c,y", comments="")


def write_rule(factor=2):
    Path("rule.py").write_text(RULE.format(factor=factor))
    load_plugin("rule.py")


def interrupted(optimizer="SGD", **options):
    """Return the path of a run that was interrupted before step 20."""
    Path("c.yaml").write_text(CONFIG.format(optimizer=optimizer))

    class Stop(Exception):
        pass

    def stop(now):
        if now.step >= 20:
            raise Stop

    with pytest.raises(Stop):
        optrun.run("c.yaml", directory="r", observe=stop, **options)
    return Path("r")


@pytest.mark.parametrize("what", ["data", "code"])
def test_a_run_goes_on_with_what_it_began_with_unless_changes_are_accepted(what):
    write_data()
    write_rule()
    path = interrupted("Doubled")
    if what == "data":
        write_data(50)
    else:
        write_rule(3)
    with pytest.raises(ChangedError, match=f"the {what} of .* since the run began: .* --accept-changes"):
        optrun.resume(path)
    assert optrun.resume(path, accept_changes=True).steps == 40
    with Store.open(path) as store:
        (event,) = store.events("accepted")
    assert [change["what"].startswith(f"the {what}") for change in event.details["changes"]] == [True]


def test_what_a_run_was_made_of_is_noted_once_for_its_steps():
    write_data()
    path = interrupted()
    with Store.open(path, write=True) as store:
        first = identity_of_store(store)
        for digest in ("a", "b"):
            now = replace(first, data=dict.fromkeys(first.data, digest))
            _, events = check_identity(store, now, "run", "", accept=True)
            store.commit(events=events)
        (made,) = earlier_identities(store)[0]
        assert made.identity.data == first.data


@pytest.mark.parametrize(
    ("text", "by"),
    [("lr: 0.01", "lr: 0.5"), ("steps: 40", "steps: 60")],
)
def test_an_edit_of_what_determines_results_is_refused(text, by):
    write_data()
    file = interrupted() / "config.yaml"
    before = file.read_text()
    assert text in before
    file.write_text(before.replace(text, by))
    with pytest.raises(
        ConfigError, match=r"config.yaml:\d+:\d+: .* is .* here, and the run was started with"
    ):
        optrun.resume("r")
    file.write_text(before.replace("name: x", "name: other").replace("every: 10", "every: 5"))
    assert optrun.resume("r").steps == 40


def test_another_machine_is_noted_where_bits_may_differ(monkeypatch):
    write_data()
    path = interrupted()
    monkeypatch.setattr("optrun.store.fingerprint._simd", lambda: ["SSE2"])
    with pytest.warns(OptrunWarning, match="the last bits of results may differ from now on: simd SSE2, was"):
        optrun.resume(path)
    with Store.open(path) as store:
        (event,) = store.events("machine")
    assert event.details["changes"]["simd"][1] == "SSE2"


@pytest.mark.full
def test_a_store_that_tells_of_no_code_and_no_data_goes_on(monkeypatch):
    write_data()
    write_rule()
    events = Identity.events
    monkeypatch.setattr("optrun.training.identity.Identity.events", lambda identity: {})
    path = interrupted("Doubled")
    monkeypatch.setattr("optrun.training.identity.Identity.events", events)
    write_rule(3)
    assert optrun.resume(path).steps == 40


@pytest.mark.parametrize("how", ["moved", "another path in config.yaml"])
def test_a_run_goes_on_where_its_project_is_now(how, tmp_path, monkeypatch):
    write_data()
    whole = optrun.run(CONFIG_OF_DATA, directory="whole")
    Path("project").mkdir()
    Path("d.csv").rename("project/d.csv")
    monkeypatch.chdir("project")
    interrupted()
    monkeypatch.chdir(tmp_path)
    Path("project").rename("elsewhere")
    if how != "moved":
        Path("elsewhere/d.csv").rename("e.csv")
        file = Path("elsewhere/r/config.yaml")
        file.write_text(
            file.read_text().replace(str(tmp_path / "project" / "d.csv"), str(tmp_path / "e.csv"))
        )
    assert optrun.resume("elsewhere/r").summary == whole.summary


def test_data_around_a_moved_run_that_are_others_are_refused(tmp_path, monkeypatch):
    Path("project").mkdir()
    monkeypatch.chdir("project")
    write_data()
    interrupted()
    write_data(50)
    monkeypatch.chdir(tmp_path)
    Path("project").rename("elsewhere")
    with pytest.raises(ChangedError, match="the data of mlp"):
        optrun.resume("elsewhere/r")


def test_data_and_code_are_shown_and_compared():
    write_data()
    write_rule()
    optrun.run(CONFIG_OF_DATA | {"optimizer": {"name": "Doubled"}}, directory="a")
    rule = hashlib.sha256(Path("rule.py").read_bytes()).hexdigest()
    shown = CliRunner().invoke(app, ["show", "a"]).stdout
    assert f"optimizer Doubled: rule.py {rule[:12]}" in shown
    write_rule(3)
    write_data(50)
    optrun.run(CONFIG_OF_DATA | {"optimizer": {"name": "Doubled"}}, directory="b")
    with Store.open(Path("a")) as one, Store.open(Path("b")) as other:
        found = run_difference(one, other).environment
        assert f"data {found['data'][0][:12]}" in shown
    other_rule = hashlib.sha256(Path("rule.py").read_bytes()).hexdigest()
    assert found["code.optimizer Doubled"] == (rule, other_rule)
    assert set(found) == {"data", "code.optimizer Doubled"}
