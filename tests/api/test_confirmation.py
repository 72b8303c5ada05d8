"""A sweep confirms its best settings: each wins on the tuning seeds, and runs again on seeds that are fresh."""

import csv
import signal
from collections import defaultdict
from statistics import median

import numpy as np
import pytest

import optrun
from optrun.api.sweeps import load_sweep
from optrun.store import Store
from tests.sweeps.support import digest_of

BASE = {
    "name": "study",
    "problem": {"name": "quadratic", "dim": 4, "noise": 0.5},
    "optimizer": {"name": "SGD"},
    "steps": 12,
}
SPACES = [
    {
        "parameters": {
            "optimizer.name": ["SGD"],
            "optimizer.lr": [0.01, 0.1, 1e3],
            "optimizer.momentum": [0.0, 0.5],
        }
    },
    {"parameters": {"optimizer.name": ["Adam"], "optimizer.lr": [0.003, 0.3]}},
]
CONFIRM = {"by": "optimizer.name", "seeds": 4}


def study(*, confirm=CONFIRM, seed=0, **block):
    return BASE | {"seed": seed, "sweep": {"spaces": SPACES, "repeats": 3, "confirm": confirm, **block}}


def winners_in(path, top=1):
    """Return the best settings of each optimizer, by the rows of a summary; what diverged is the worst."""
    rows = list(csv.DictReader((path / "summary.csv").read_text().splitlines()))
    losses = defaultdict(list)
    for row in rows:
        loss = float(row["final_loss"]) if row["status"] == "completed" else float("inf")
        if row["status"] != "pruned":
            losses[row["optimizer.name"], row["optimizer.lr"], row.get("optimizer.momentum", "")].append(loss)
    best = []
    for name in ("SGD", "Adam"):
        own = sorted(
            (setting for setting in losses if setting[0] == name), key=lambda each: median(losses[each])
        )
        best += [setting for setting in own[:top] if min(losses[setting]) < float("inf")]
    return best


def settings_of(sweep):
    return [
        (each["optimizer.name"], str(each["optimizer.lr"]), str(each.get("optimizer.momentum", "")))
        for each in sweep.settings
    ]


@pytest.mark.parametrize("top", [1, 2])
def test_the_best_settings_by_the_median_over_the_tuning_seeds_run_again(top):
    sweep = optrun.sweep(study(confirm={**CONFIRM, "top": top}))
    assert any(state.status == "diverged" for state in sweep.states)
    assert settings_of(sweep.confirmed) == winners_in(sweep.path, top)
    assert (sweep.left, sweep.confirmation_left, sweep.executed) == (0, 0, 24)
    assert sweep.confirmed.path == sweep.path / "confirm"
    assert sweep.confirmed.metric == sweep.metric


@pytest.mark.full
@pytest.mark.parametrize(
    ("repeats", "seed", "fresh"),
    [
        (3, 0, [3, 4, 5, 6]),
        (2, 7, [9, 10, 11, 12]),
        ([5, 2, 4], 0, [3, 6, 7, 8]),
        (1, 2**63 - 2, [2**63 - 1, 0, 1, 2]),
    ],
)
@pytest.mark.parametrize("save", [True, False])
def test_the_seeds_took_no_part_in_the_selection(repeats, seed, fresh, save):
    sweep = optrun.sweep(study(repeats=repeats, seed=seed), save=save)
    tuning = {run.config["seed"] for run in sweep.runs}
    assert [run.config["seed"] for run in sweep.confirmed.runs] == fresh * 2
    assert not tuning & set(fresh)


def test_seeds_of_the_command_line_are_tuning_seeds_too():
    sweep = optrun.sweep(study(), overrides=["seed=0,3"])
    assert [run.config["seed"] for run in sweep.confirmed.runs][:4] == [1, 2, 4, 5]


@pytest.mark.parametrize("save", [True, False])
def test_a_confirmed_run_is_the_run_alone(save):
    confirmed = optrun.sweep(study(), save=save).confirmed
    for run in confirmed.runs:
        alone = optrun.run(dict(run.config), save=False)
        assert run.summary == alone.summary
        for name in alone.curves:
            assert run.curves[name].tobytes() == alone.curves[name].tobytes()
        for name in alone.params:
            assert np.array_equal(run.params[name], alone.params[name])


def test_the_configs_are_those_of_the_settings_but_for_the_seed():
    sweep = optrun.sweep(study(zip=[{"steps": [12, 14], "problem.dim": [4, 5]}]))
    of_tuning = [{**run.config, "seed": None} for run in sweep.runs]
    assert len(sweep.confirmed.settings) == 4  # of two problems
    for run in sweep.confirmed.runs:
        assert {**run.config, "seed": None} in of_tuning


METHODS = {
    "random": {"method": "random", "trials": 8, "parameters": {"optimizer.lr": {"loguniform": [1e-3, 1]}}},
    "sobol": {"method": "sobol", "trials": 8, "parameters": {"optimizer.lr": {"loguniform": [1e-3, 1]}}},
    "halving": {"method": "halving", "halving": {"min_steps": 3, "factor": 2}},
    "optuna": {
        "method": "optuna",
        "trials": 8,
        "optuna": {"batch": 4},
        "parameters": {"optimizer.lr": {"loguniform": [1e-3, 1]}},
    },
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_confirmed_and_what_was_pruned_does_not_win(method):
    for package in {"sobol": ["scipy"], "optuna": ["optuna"]}.get(method, ()):
        pytest.importorskip(package)
    block = METHODS[method]
    if "parameters" in block:
        block = {**block, "spaces": [{"parameters": {"optimizer.name": [name]}} for name in ("SGD", "Adam")]}
    sweep = optrun.sweep(study(**block))
    completed = winners_in(sweep.path)
    found = settings_of(sweep.confirmed)
    assert sorted(each[0] for each in found) == ["Adam", "SGD"]
    assert set(completed) <= set(found)
    assert all(state.status.final for state in sweep.confirmed.states)
    # The confirmation is a sweep whose own config is the same one.
    again = optrun.sweep(sweep.confirmed.path / "config.yaml", directory=sweep.confirmed.path)
    assert again.executed == 0
    assert again.settings == sweep.confirmed.settings
    # The same call again executes nothing.
    again = optrun.sweep(study(**block))
    assert (again.executed, again.confirmed.executed) == (0, 0)


def test_without_a_word_the_best_setting_of_each_problem_is_confirmed():
    data = BASE | {
        "sweep": {
            "parameters": {
                "optimizer.lr": [0.01, 0.1],
                "problem.dim": [3, 4],
                "optimizer.momentum": [0.0, 0.5],
            },
            "confirm": {"seeds": 2},
        }
    }
    found = optrun.sweep(data).confirmed.settings
    assert [each["problem.dim"] for each in found] == [3, 4]


def test_a_sweep_over_seeds_alone_is_confirmed_on_others():
    sweep = optrun.sweep(BASE | {"sweep": {"repeats": 2, "confirm": {"seeds": 3}}})
    assert sweep.confirmed.settings == [{}]
    assert [run.config["seed"] for run in sweep.confirmed.runs] == [2, 3, 4]
    assert load_sweep(sweep.path).confirmed.settings == [{}]
    again = optrun.sweep(sweep.confirmed.path / "config.yaml", directory=sweep.confirmed.path)
    assert (again.executed, len(again.states)) == (0, 3)


def test_settings_beside_one_that_changes_nothing_are_confirmed():
    block = {"include": [{"optimizer.lr": 0.1}], "confirm": {"seeds": 2, "top": 2}}
    sweep = optrun.sweep(BASE | {"sweep": block})
    assert {str(each) for each in sweep.confirmed.settings} == {"{}", "{'optimizer.lr': 0.1}"}
    path = sweep.confirmed.path
    assert optrun.sweep(path / "config.yaml", directory=path).settings == sweep.confirmed.settings


def test_a_sweep_is_confirmed_once_it_is_through():
    limited = optrun.sweep(study(), limit=23)
    assert (limited.left, limited.confirmed, limited.confirmation_left) == (1, None, 0)
    assert not (limited.path / "confirm").exists()
    assert load_sweep(limited.path).confirmed is None
    sweep = optrun.sweep(study(), limit=1)
    assert (sweep.left, len(sweep.confirmed.states), sweep.confirmed.left) == (0, 8, 0)
    assert load_sweep(sweep.path).confirmed.table() == sweep.confirmed.table()


@pytest.mark.full
@pytest.mark.parametrize("while_confirming", [True, False])
def test_an_interrupted_sweep_goes_on_with_what_is_left_of_its_confirmation(while_confirming):
    def interrupt(now):
        if now.confirms if while_confirming else now.runs == 24:
            signal.raise_signal(signal.SIGINT)

    data = study(checkpoint={"every": 4})
    data["checkpoint"] = data["sweep"].pop("checkpoint")
    part = optrun.sweep(data, observe=interrupt)
    assert (part.signal, part.left, part.confirmation_left) == (signal.SIGINT, 0, 8)
    assert (part.confirmed is not None) == while_confirming
    whole = optrun.sweep(data)
    assert (whole.executed, whole.confirmed.executed, whole.confirmation_left) == (0, 8, 0)
    other = optrun.sweep(data, directory="runs/other")
    assert digest_of(whole.confirmed) == digest_of(other.confirmed)
    assert digest_of(whole) == digest_of(other)


def test_the_confirmation_of_a_grown_sweep_is_that_of_the_large_one():
    rates = [0.01, 0.03]
    data = study()
    data["sweep"] = {"parameters": {"optimizer.name": ["SGD", "Adam"], "optimizer.lr": rates}, "repeats": 2}
    data["sweep"]["confirm"] = CONFIRM
    notes = []
    small = optrun.sweep(data, directory="runs/grown")
    data["sweep"]["parameters"]["optimizer.lr"] = [*rates, 0.1, 0.3]
    data["sweep"]["repeats"] = 3
    grown = optrun.sweep(data, directory="runs/grown")
    large = optrun.sweep(data, directory="runs/large")
    assert small.confirmed.settings != grown.confirmed.settings
    assert grown.confirmed.settings == large.confirmed.settings
    assert digest_of(grown.confirmed) == digest_of(large.confirmed)
    with Store.open(grown.confirmed.path) as store:
        assert store.kept()
    assert notes == []
    # One that asks for more seeds makes those that are new.
    more = optrun.sweep(data, directory="runs/grown", overrides=["sweep.confirm.seeds=6"])
    assert (more.executed, more.confirmed.executed) == (0, 4)


def test_other_winners_with_other_parameters_take_the_place_of_the_first_ones():
    data = study(confirm={"seeds": 2, "top": 1, "by": "problem.name"})
    data["sweep"]["spaces"] = [
        {"parameters": {"optimizer.name": ["SGD"], "optimizer.lr": [1e-6]}},
        {"parameters": {"optimizer.name": ["Adam"], "optimizer.beta1": [0.8], "optimizer.lr": [1e-7]}},
    ]
    data["sweep"]["parameters"] = {"problem.name": ["quadratic"]}
    first = optrun.sweep(data, directory="runs/x").confirmed.settings
    data["sweep"]["spaces"][1]["parameters"]["optimizer.lr"] = [0.1]
    second = optrun.sweep(data, directory="runs/x").confirmed.settings
    assert [each[0]["optimizer.name"] for each in (first, second)] == ["SGD", "Adam"]


def test_a_confirmation_is_turned_on_and_off():
    plain = optrun.sweep(study(), overrides=["sweep.confirm=null"])
    assert (plain.confirmed, plain.confirmation_left) == (None, 0)
    assert not (plain.path / "confirm").exists()
    config = plain.path / "config.yaml"
    assert optrun.sweep(config, directory=plain.path).confirmed is None
    on = optrun.sweep(study())
    assert on.path == plain.path
    assert (on.executed, on.confirmed.executed) == (0, 8)
    # Whoever goes on with it asks for the confirmation, too.
    assert optrun.sweep(config, directory=plain.path).confirmed.executed == 0
    optrun.sweep(study(confirm=None))
    assert optrun.sweep(config, directory=plain.path).confirmed is None


def poisoned(*rates):
    # Not before all optimizers that are tested have been collected.
    from tests.sweeps.poison import RAISES

    return study(
        spaces=[{"parameters": {"optimizer.name": ["Poison"], "optimizer.lr": [*rates, RAISES]}}], repeats=1
    )


def test_nothing_is_confirmed_where_no_setting_has_a_result():
    sweep = optrun.sweep(poisoned(), save=False)
    assert {str(state.status) for state in sweep.states} == {"failed"}
    assert (sweep.confirmed, sweep.confirmation_left) == (None, 0)


def test_a_failure_that_ends_a_sweep_ends_it_before_the_confirmation():
    sweep = optrun.sweep(poisoned(0.1), fail_fast=True)
    assert (sweep.left, sweep.confirmed, sweep.confirmation_left) == (0, None, 4)
    confirmed = optrun.sweep(poisoned(0.1)).confirmed
    assert (confirmed.settings, confirmed.left) == ([{"optimizer.name": "Poison", "optimizer.lr": 0.1}], 0)


def test_a_comparison_takes_its_figures_from_the_fresh_seeds():
    sweep = optrun.sweep(study())
    found = optrun.compare(sweep)
    rows = {row.value: row for row in found.problems[0].rows}
    for standing in sweep.confirmed.standings():
        row = rows[standing.setting["optimizer.name"]]
        assert (row.n, row.median, row.confirmed) == (4, standing.median, True)
    assert not any("seeds that are reported" in each for each in found.warnings)
    alone = optrun.compare(sweep.confirmed.path)
    assert [row.median for row in alone.problems[0].rows] == [row.median for row in found.problems[0].rows]
    assert not any("seeds that are reported" in each for each in alone.warnings)
    edges = [{row.value: tuple(row.edge) for row in each.problems[0].rows} for each in (found, alone)]
    assert edges[0] == edges[1]
    assert any(edges[0].values())


def test_the_noise_of_a_config_needs_no_confirmation(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "optrun.api.sweeps.confirmation", lambda plan, _: asked.append(plan.swept.sweep.confirm)
    )
    assert optrun.noise(BASE | {"sweep": {"repeats": 2, "confirm": {}}}, seeds=3).n == 3
    assert asked == [None]


@pytest.mark.full
@pytest.mark.parametrize("how", [{"jobs": 2}, {"jobs": 2, "timeout": 60.0}, {"executor": "dask", "jobs": 2}])
def test_the_confirmation_is_executed_as_its_sweep_is(how):
    if "executor" in how:
        pytest.importorskip("distributed")
    plain, other = optrun.sweep(study(), directory="runs/a"), optrun.sweep(study(), directory="runs/b", **how)
    assert digest_of(plain.confirmed) == digest_of(other.confirmed)


@pytest.mark.parametrize("method", ["halving", "optuna"])
def test_a_sweep_that_is_decided_on_the_way_is_confirmed_later_too(method):
    if method == "optuna":
        pytest.importorskip("optuna")
    block = METHODS[method]
    if "parameters" in block:
        block = {**block, "spaces": [{"parameters": {"optimizer.name": ["SGD", "Adam"]}}]}
    plain = optrun.sweep(study(confirm=None, **block))
    sweep = optrun.sweep(study(**block))
    assert (sweep.path, sweep.executed) == (plain.path, 0)
    assert sweep.confirmed.left == 0
    config = sweep.path / "config.yaml"
    assert optrun.sweep(config, directory=sweep.path).confirmed.executed == 0
