"""Results of other data or other code do not get mixed: what a sweep depends on is compared where a pack starts."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import optrun
from optrun.cli.app import app
from optrun.config.sweep import sweep_from_mapping
from optrun.errors import ChangedError
from optrun.registry import load_plugin, optimizers
from optrun.store import Store
from optrun.sweep.expand import expand
from optrun.sweep.packs import grouped
from optrun.sweep.work import Work
from optrun.training.identity import known

RULE = '''
from optrun.optim import Optimizer
{imports}
class Halved(Optimizer):
    """A step of half the rate."""
    @staticmethod
    def update(p, g, t, /, *, lr: float = 1e-3):
        p -= {factor} * lr * g
'''


@pytest.fixture(autouse=True)
def _no_plugin_stays(monkeypatch):
    for name in ("_classes", "_names"):
        monkeypatch.setattr(optimizers, name, dict(getattr(optimizers, name)))


def write_data(samples=60):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(samples, 3))
    rows = np.column_stack([features, features.sum(axis=1)])
    np.savetxt("d.csv", rows, delimiter=",", header="a,b,c,y", comments="")


def config(**parts):
    return {
        "name": "x",
        "problem": {"name": "mlp", "data": "d.csv", "hidden": [4]},
        "optimizer": {"name": "SGD", "lr": 0.01},
        "steps": 20,
        "sweep": {"parameters": {"optimizer.lr": [0.01, 0.02, 0.03]}},
    } | parts


def write_rule(factor="0.5", imports=""):
    Path("rule.py").write_text(RULE.format(factor=factor, imports=imports))
    load_plugin("rule.py")


@pytest.mark.parametrize("executor", ["local", "thread"])
def test_a_pack_on_other_data_than_the_plan_is_not_kept(executor):
    write_data()
    seen = []

    def cut(now):
        if now.runs and not seen:
            seen.append(now.runs)
            write_data(40)

    said = r"the data of mlp .*d.csv have changed since the sweep began"
    with ThreadPoolExecutor(1) as pool, pytest.raises(ChangedError, match=said):
        optrun.sweep(
            config(sweep={"parameters": {"problem.hidden": [[4], [5], [6]]}}),
            executor=pool if executor == "thread" else "local",
            jobs=1,
            directory="s",
            observe=cut,
        )
    with Store.open(Path("s")) as store:
        done = {
            run: state.summary["final_loss"] for run, state in enumerate(store.states()) if state.status.final
        }
    assert 0 < len(done) < 3
    write_data()
    whole = optrun.sweep(config(sweep={"parameters": {"problem.hidden": [[4], [5], [6]]}}), save=False)
    assert done == {run: whole.runs[run].summary["final_loss"] for run in done}


def test_a_worker_with_other_data_or_code_makes_no_results():
    write_data()
    write_rule()
    plan = expand(sweep_from_mapping(config(optimizer={"name": "Halved", "lr": 0.01})))
    (group,) = grouped(plan)
    work = Work(plan.configs, identity=group.identity)
    assert work.execute(lambda: False)
    write_rule(factor="0.25")
    with pytest.raises(ChangedError, match=r"the code of optimizer Halved \(rule.py\) has changed"):
        work.execute(lambda: False)


@pytest.mark.parametrize("what", ["data", "code", "module beside the plugin"])
def test_a_sweep_goes_on_with_what_it_began_with_unless_changes_are_accepted(what, monkeypatch):
    write_data()
    Path("beside.py").write_text("factor = 1\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    write_rule(imports="import beside")
    swept = config(optimizer={"name": "Halved", "lr": 0.01})
    optrun.sweep(swept, directory="s", limit=1)
    match what:
        case "data":
            write_data(50)
        case "code":
            write_rule(factor="0.25", imports="import beside")
        case _:
            Path("beside.py").write_text("factor = 2\n")
            write_rule(imports="import beside")
    with pytest.raises(ChangedError, match="since the sweep began: .* or go on with --accept-changes"):
        optrun.sweep(swept, directory="s")
    sweep = optrun.sweep(swept, directory="s", accept_changes=True)
    assert sweep.left == 0
    with Store.open(Path("s")) as store:
        (event,) = store.events("accepted")
    (change,) = event.details["changes"]
    assert change["what"].startswith("the data" if what == "data" else "the code")
    assert change["before"] != change["after"]
    # What was accepted is what it is compared with from now on.
    optrun.sweep(swept, directory="s")


def test_a_rung_is_left_on_data_that_were_accepted():
    write_data()
    halving = {
        "method": "halving",
        "halving": {"min_steps": 5, "factor": 2},
        "parameters": {"optimizer.lr": [0.01, 0.02, 0.03, 0.04]},
    }
    optrun.sweep(config(sweep=halving), directory="s", limit=4)
    write_data(50)
    sweep = optrun.sweep(config(sweep=halving), directory="s", accept_changes=True)
    assert sweep.left == 0
    assert not any(state.is_bad for state in sweep.states)


@pytest.mark.parametrize("command", ["sweep c.yaml", "sweep c.yaml -o out", "resume out"])
def test_a_sweep_goes_on_where_its_project_is_now(command, tmp_path, monkeypatch):
    Path("project").mkdir()
    monkeypatch.chdir("project")
    write_data()
    Path("c.yaml").write_text(json.dumps(config()))
    path = optrun.sweep("c.yaml", limit=1, directory="out" if "out" in command else None).path
    with Store.open(path) as store:
        first = store.curves(0)["loss"].tobytes()
    monkeypatch.chdir(tmp_path)
    Path("project").rename("elsewhere")
    monkeypatch.chdir("elsewhere")
    result = CliRunner().invoke(app, [*command.split(), "-q"])
    assert (result.exit_code, result.exception) == (0, None)
    assert len(list(Path("runs").glob("sweep-*"))) == (command == "sweep c.yaml")
    with Store.open(path) as store:
        assert all(state.status.final for state in store.states())
        assert store.curves(0)["loss"].tobytes() == first
        assert len(set(known(store).data.values())) == 1


def test_what_does_not_change_a_plugin_is_no_change():
    write_data()
    write_rule()
    swept = config(optimizer={"name": "Halved", "lr": 0.01})
    optrun.sweep(swept, directory="s", limit=1)
    Path("other.py").write_text("# not imported\n")
    Path("rule.py").touch()
    Path("moved").mkdir()
    Path("rule.py").rename("moved/rule.py")
    del optimizers._classes["halved"]
    load_plugin("moved/rule.py")
    assert optrun.sweep(swept, directory="s").left == 0
