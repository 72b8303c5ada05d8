"""Results of other data or other code do not get mixed: what a sweep depends on is compared where a pack starts."""

import importlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import optrun
from optrun.cli.app import app
from optrun.config.sweep import sweep_from_mapping
from optrun.errors import ChangedError
from optrun.registry import load_plugin, optimizers, problems
from optrun.sources import source_of
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
    monkeypatch.delitem(sys.modules, "beside", raising=False)
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
            monkeypatch.delitem(sys.modules, "beside")  # as in another process
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


OF_FILE = '''
from pathlib import Path
from typing import Annotated
import numpy as np
from optrun.problems.problem import Problem
from optrun.registry import PathOrName
class OfFile(Problem):
    """Half of a square, times the number in a file."""
    shapes = {"x": (1,)}
    def __init__(self, arrays, *, file: Annotated[str, PathOrName(), "a file with a number"]):
        super().__init__(arrays)
        self.factor = float(Path(file).read_text())
    def initial(self, seed):
        return {"x": np.ones(1)}
    def loss_and_grad(self, params, grads, batch):
        grads["x"][:] = self.factor * params["x"]
        return 0.5 * self.factor * params["x"][:, 0] ** 2
    def evaluate(self, params):
        return {"loss": 0.5 * self.factor * params["x"][:, 0] ** 2}
'''


def test_a_plugins_files_tell_its_runs_apart(monkeypatch):
    for name in ("_classes", "_names"):
        monkeypatch.setattr(problems, name, dict(getattr(problems, name)))
    Path("of_file.py").write_text(OF_FILE)
    load_plugin("of_file.py")
    for name, number in {"one": 1, "two": 2, "three": 3}.items():
        Path(f"{name}.num").write_text(str(number))

    def losses(*names):
        swept = {"parameters": {"problem.file": [f"./{name}.num" for name in names]}}
        done = optrun.sweep(
            {"problem": "of_file", "optimizer": {"name": "SGD", "lr": 0.5}, "steps": 1, "sweep": swept},
            directory="s",
        )
        return [state.summary["final_loss"] for state in done.states]

    after = {"one": 0.125, "two": 0.0, "three": 0.375}  # k/2 (1 - k/2)²
    for names in (["one", "two"], ["two", "one", "three"]):
        assert losses(*names) == [after[name] for name in names]


def test_the_noted_code_is_the_code_that_ran(monkeypatch):
    """A helper that is edited after its import has not run as it is now."""
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "helper_of_rule", raising=False)
    Path("helper_of_rule.py").write_text("factor = 1\n")
    write_rule(imports="import helper_of_rule")
    Path("helper_of_rule.py").write_text("factor = 20\n")
    ran = source_of(optimizers.find("Halved"))
    write_rule(imports="import helper_of_rule")
    assert source_of(optimizers.find("Halved")) == ran
    importlib.reload(sys.modules["helper_of_rule"])
    write_rule(imports="import helper_of_rule")
    assert source_of(optimizers.find("Halved")) != ran


def test_a_package_that_is_loaded_again_is_other_code(monkeypatch):
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("package_of_rule").mkdir()
    file = Path("package_of_rule/__init__.py")
    file.write_text(RULE.format(factor="0.5", imports=""))
    package = importlib.import_module("package_of_rule")
    monkeypatch.setitem(sys.modules, "package_of_rule", package)
    before = source_of(optimizers.find("Halved"))
    file.write_text(RULE.format(factor="0.125", imports=""))
    importlib.reload(package)
    assert before != source_of(optimizers.find("Halved"))
