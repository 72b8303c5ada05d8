"""Results of other data or other code do not get mixed: what a sweep depends on is compared where a pack starts."""

import hashlib
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
from optrun.cli.views.sweep_plan import print_sweep_plan
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.errors import ChangedError, StoreError
from optrun.plugins import load_plugin
from optrun.registry import optimizers, problems
from optrun.sources import source_of
from optrun.store import Status, Store
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import grouped
from optrun.sweeps.workers.task import Work
from optrun.training.identity import identity_of_store
from optrun.training.provenance import earlier_identities, identity_of
from tests.registries import restore_after

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
    restore_after(monkeypatch, optimizers)


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
        assert {state.status for run, state in enumerate(store.states()) if run not in done} == {
            Status.WAITING
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


def planned(swept, **how):
    """Print what `sweep --dry-run -o s` would."""
    plan = expand(sweep_from_mapping(swept))
    print_sweep_plan(
        plan, grouped(plan), Path("s"), 1, None, plugins=(), json=False, retry_failed=False, **how
    )


@pytest.mark.full
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
    with pytest.raises(ChangedError, match="since the sweep began: .* or continue with --accept-changes"):
        optrun.sweep(swept, directory="s")
    planned(swept, accept_changes=True)
    with pytest.raises(ChangedError, match="since the sweep began: .* or continue with --accept-changes"):
        planned(swept, accept_changes=False)
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
        assert len(set(identity_of_store(store).data.values())) == 1


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
    restore_after(monkeypatch, problems)
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


def write_line(name, slope, samples=40):
    """Write data of which a line of this slope through noise is a fit, so that other slopes give other losses."""
    x = np.random.default_rng(slope).normal(size=(samples, 1))
    np.savetxt(name, np.column_stack([x, slope * x]), delimiter=",", header="x,y", comments="")


def of_lines(method=None, **parameters):
    block = {"parameters": parameters}
    if method == "halving":
        block |= {"method": method, "halving": {"min_steps": 2, "factor": 2}}
    elif method == "optuna":
        pytest.importorskip("optuna")
        block |= {"method": method, "trials": 3, "metric": {"name": "final_loss"}}
    problem = {"name": "linear_regression", "data": "./a.csv", "standardize": False}
    return {"problem": problem, "optimizer": {"name": "SGD", "lr": 0.05}, "steps": 4, "sweep": block}


@pytest.mark.parametrize("method", ["halving", "optuna"])
def test_decisions_about_one_file_are_not_those_about_another(method):
    """A file that takes another's place is refused, and the results that there are stay with theirs."""
    for name, slope in {"a.csv": 1, "b.csv": 3}.items():
        write_line(name, slope)
    swept = {"problem.data": ["./a.csv", "./b.csv"]} if method == "halving" else {}
    rates = [0.1, 0.01] if method == "halving" else {"uniform": [0.01, 0.1]}
    config = of_lines(method, **(swept or {"optimizer.lr": rates}))
    before = [state.summary for state in optrun.sweep(config, directory="s").states]
    assert [state.summary for state in optrun.sweep(config, directory="s").states] == before
    if swept:
        config["sweep"]["parameters"]["problem.data"] = ["./b.csv", "./a.csv"]
    else:
        config["problem"] = config["problem"] | {"data": "./b.csv"}
    with pytest.raises(StoreError, match="holds other runs than this sweep: name another directory with -o"):
        optrun.sweep(config, directory="s")


@pytest.mark.parametrize("grows", [False, True], ids=["the same plan", "a plan that grows"])
def test_accepted_changes_keep_the_results_of_the_plan_and_those_alone(grows):
    """What ended stays, as made of older data; what was kept aside does not come back on other data."""
    write_line("a.csv", 1)
    old = optrun.sweep(of_lines(**{"optimizer.lr": [0.01, 0.02, 0.03]}), directory="s")
    old_losses = [state.summary["final_loss"] for state in old.states]
    write_line("a.csv", 3)
    new = optrun.sweep(of_lines(**{"optimizer.lr": [0.01, 0.02, 0.03, 0.04]}), save=False)
    new_losses = [state.summary["final_loss"] for state in new.states]
    assert not set(old_losses) & set(new_losses)
    rates = [0.01, 0.02, 0.04] if grows else [0.01, 0.02, 0.03]
    with pytest.raises(ChangedError, match="continue with --accept-changes"):
        optrun.sweep(of_lines(**{"optimizer.lr": rates}), directory="s")
    done = optrun.sweep(of_lines(**{"optimizer.lr": rates}), directory="s", accept_changes=True)
    kept = [*old_losses[:2], new_losses[3] if grows else old_losses[2]]
    assert [state.summary["final_loss"] for state in done.states] == kept
    with Store.open(Path("s")) as store:
        fingerprints = [identity_of(store, store.run(run)).fingerprint for run in range(3)]
        made = earlier_identities(store)
    assert fingerprints[0] == fingerprints[1] != next(iter(known_of_group(rates).data.values()))
    assert len(made) == 3  # those of the first plan, among them one that may be kept aside
    shown = CliRunner().invoke(app, ["show", "s"]).stdout
    assert f"{2 if grows else 3} runs made with older data or code, as accepted: 0, 1" in shown
    if grows:
        done = optrun.sweep(of_lines(**{"optimizer.lr": [0.01, 0.02, 0.03, 0.04]}), directory="s")
        assert [state.summary["final_loss"] for state in done.states] == [*old_losses[:2], *new_losses[2:]]


def known_of_group(rates):
    (group,) = grouped(expand(sweep_from_mapping(of_lines(**{"optimizer.lr": rates}))))
    return group.identity


def test_a_run_that_was_kept_aside_does_not_come_back_with_other_code():
    write_data()
    write_rule()

    def losses(*rates, **options):
        block = {"sweep": {"parameters": {"optimizer.lr": [*rates]}}}
        done = optrun.sweep(
            config(optimizer={"name": "Halved", "lr": 0.01}, **block), directory="s", **options
        )
        return [state.summary["final_loss"] for state in done.states]

    old = losses(0.01, 0.02)
    assert losses(0.01) == old[:1]
    write_rule(factor="0.25")
    assert losses(0.01, accept_changes=True) == old[:1]
    # Half of half the rate, so that 0.02 is what 0.01 was, and not what 0.02 was.
    assert losses(0.01, 0.02) == [old[0], old[0]]


def test_show_says_of_which_data_and_code_a_sweep_is():
    write_data()
    write_rule()
    optrun.sweep(config(optimizer={"name": "Halved", "lr": 0.01}), directory="s")
    shown = CliRunner().invoke(app, ["show", "s"]).stdout
    rule = hashlib.sha256(Path("rule.py").read_bytes()).hexdigest()
    assert f"optimizer Halved: rule.py {rule[:12]}" in shown
    with Store.open(Path("s")) as store:
        (fingerprint,) = identity_of_store(store).data.values()
    assert f"d.csv: {fingerprint[:12]}" in shown
    found = json.loads(CliRunner().invoke(app, ["show", "s", "--json"]).stdout)["identity"]
    assert list(found["data"].values()) == [fingerprint]
    assert (found["code"]["optimizer Halved"]["sha256"], found["older"]) == (rule, [])
