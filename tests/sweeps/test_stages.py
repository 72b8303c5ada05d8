"""Sweeps that decide on the way: rungs of successive halving, generations of Optuna; the same however executed."""

import json
import signal
import statistics
import sys
from pathlib import Path

import pytest

import optrun
from optrun.api import sweeps
from optrun.config import ConfigErrors, from_mapping
from optrun.config.sweep.model import Metric
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.errors import MissingExtraError, StoreError
from optrun.store import RunState, Status, Store
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.stages import ordinal, score
from tests.forked import python
from tests.pairs import few_in_short
from tests.sweeps.support import digest_of, prepared

BASE = {
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": {"name": "SGD"},
    "scheduler": {"name": "CosineAnnealingLR", "T_max": 40},
    "average": {"name": "ema", "decay": 0.9},
    "stop": {"divergence": 4.0},
    "steps": 40,
    "evaluate": {"every": 7},
}
HALVING = BASE | {
    "name": "halving",
    "sweep": {
        "method": "halving",
        "trials": 13,
        "halving": {"min_steps": 4, "factor": 3},
        "parameters": {"optimizer.lr": {"loguniform": [1e-4, 1e4]}, "optimizer.name": ["SGD", "Adam"]},
        "repeats": 2,
        "metric": {"name": "test_accuracy", "goal": "maximize"},
    },
}


def by_hand(data):
    """Halve the settings of a sweep with runs that begin anew for each rung; return where each setting stopped."""
    plan = expand(sweep_from_mapping(data))
    block = plan.swept.sweep
    seeds, metric, factor = plan.repeats, block.metric, block.method_options["factor"]
    maximize = metric.goal == "maximize"
    going, stopped, step = list(range(len(plan.settings))), {}, block.method_options["min_steps"]
    while step < plan.configs[0].steps and len(going) > 1:
        scores = {}
        for setting in going:
            runs = []
            for config in plan.configs[setting * seeds : (setting + 1) * seeds]:
                # The schedule is the same function of time however many steps there are.
                run = optrun.run(from_mapping(config.to_dict() | {"steps": step}), save=False)
                runs.append(None if run.status == "diverged" else run.summary[metric.name])
            if None not in runs:
                scores[setting] = statistics.median(runs)
        order = sorted(
            scores, key=lambda setting: (-scores[setting] if maximize else scores[setting], setting)
        )
        kept = sorted(order[: max(1, len(going) // factor)])
        stopped |= {setting: step for setting in going if setting not in kept}
        going, step = kept, step * factor
    return stopped, going


def test_halving_is_what_one_does_by_hand():
    sweep = optrun.sweep(HALVING, save=False)
    pairs = [{str(state.status) for state in sweep.states[i : i + 2]} for i in range(0, 26, 2)]
    assert {"diverged", "pruned"} in pairs  # one seed of a setting alone
    stopped, through = by_hand(HALVING)
    assert len(stopped) == 12
    assert len(through) == 1
    for run, state in enumerate(sweep.states):
        if run // 2 in through:
            assert (state.status, state.steps) == ("completed", 40)
        elif state.status == "diverged":
            assert state.steps <= stopped[run // 2]
        else:
            assert (state.status, state.steps) == ("pruned", stopped[run // 2])
    # 13 → 4 → 1 settings; what is left runs to its end.
    assert sorted(stopped.values()) == [4] * 9 + [12] * 3


def test_settings_of_each_problem_are_halved_as_if_they_were_alone():
    def halved(names, rates):
        return optrun.sweep(
            {
                "problem": "rosenbrock",
                "optimizer": "Adam",
                "steps": 12,
                "sweep": {
                    "method": "halving",
                    "halving": {"min_steps": 2, "factor": 2},
                    "parameters": {"problem.name": names, "optimizer.lr": rates},
                    "exclude": [{"problem.name": "matyas", "optimizer.lr": rates[1:]}] * ("matyas" in names),
                },
            },
            save=False,
        )

    # The one setting of the last problem is compared with nothing.
    names, rates = ["rosenbrock", "styblinski_tang", "matyas"], [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    together = halved(names, rates)
    alone = [*halved(names[:1], rates).states, *halved(names[1:2], rates).states, together.states[-1]]
    assert [(each.status, each.steps, each.reason) for each in together.states] == [
        (each.status, each.steps, each.reason) for each in alone
    ]
    assert (together.states[-1].status, together.states[-1].steps) == ("completed", 12)


def test_the_outline_counts_what_is_left_of_each_problem():
    sweep = HALVING["sweep"] | {"trials": None, "halving": {"min_steps": 4, "factor": 2}}
    block = sweep | {"parameters": {"problem.l2": [0.0, 1.0], "optimizer.lr": [0.1, 0.2, 0.3, 0.4, 0.5]}}
    assert expand(sweep_from_mapping(HALVING | {"sweep": block})).outline == [(10, 4), (4, 8), (2, None)]
    block["exclude"] = [{"problem.l2": 1.0, "optimizer.lr": [0.2, 0.3, 0.4, 0.5]}]
    assert expand(sweep_from_mapping(HALVING | {"sweep": block})).outline == [(6, 4), (3, 8), (2, None)]


@pytest.mark.parametrize(
    ("swept", "is_refused"),
    [
        ({"problem.data": ["iris", "wine"]}, True),
        ({"problem": [{"name": "softmax_regression", "data": "iris"}, "rosenbrock"]}, True),
        ({"problem.data": ["iris"], "problem.l2": [0.0, 0.1]}, False),
    ],
)
def test_optuna_refuses_to_learn_from_the_metrics_of_several_problems(swept, is_refused):
    pytest.importorskip("optuna")
    block = OPTUNA["sweep"] | {"parameters": OPTUNA["sweep"]["parameters"] | swept}
    if not is_refused:
        expand(sweep_from_mapping(OPTUNA | {"sweep": block}))
        return
    with pytest.raises(
        ConfigErrors, match="sweep.method: optuna learns from one metric.*sweep each problem alone"
    ):
        expand(sweep_from_mapping(OPTUNA | {"sweep": block}))


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([("completed", 3.0), ("running", 1.0), ("target_reached", 2.0)], 2.0),
        ([("completed", 3.0), ("pruned", 1.0)], 2.0),
        ([("completed", 3.0), ("diverged", 1.0)], None),
        ([("completed", 3.0), ("diverged", 1.0), ("completed", 4.0)], 4.0),
        ([("completed", 3.0), ("failed", None)], None),
        ([("completed", 3.0), ("running", None)], None),
        ([("completed", 3.0), ("running", float("inf"))], None),
    ],
)
def test_a_setting_has_the_median_of_its_runs_of_which_those_that_diverged_are_the_worst(ends, expected):
    states = [RunState(status=Status(status), summary={"final_loss": figure}) for status, figure in ends]
    assert score(states, Metric()) == expected


@pytest.mark.full
def test_a_survivor_is_the_run_alone_and_the_others_are_its_beginning():
    sweep = optrun.sweep(HALVING)
    for run, config in zip(sweep.runs, sweep.configs, strict=True):
        if run.status == "diverged":
            continue
        alone = optrun.run(config, save=False)
        pruned = run.status == "pruned"
        for name, values in run.curves.items():
            assert values.tobytes() == alone.curves[name][: len(values)].tobytes()
        if pruned:
            assert len(run.curves["step"]) == run.steps < 40
            short = optrun.run(from_mapping(config.to_dict() | {"steps": run.steps}), save=False)
            assert run.summary == short.summary
            assert {name: of.tobytes() for name, of in run.params.items()} == {
                name: of.tobytes() for name, of in short.params.items()
            }
        else:
            assert (run.summary, run.status) == (alone.summary, alone.status)
            for mine, other in ((run.evaluations, alone.evaluations), (run.params, alone.params)):
                assert {name: of.tobytes() for name, of in mine.items()} == {
                    name: of.tobytes() for name, of in other.items()
                }
    with Store.open(sweep.path) as store:
        assert all(store.checkpoint(run) is None for run in range(store.size))


def test_a_pruned_run_says_where_and_why():
    sweep = optrun.sweep(HALVING, save=False)
    reasons = {state.reason for state in sweep.states if state.status == "pruned"}
    places = {int(reason.split(": ")[1].split()[0][:-2]) for reason in reasons if " of 13" in reason}
    assert min(places) == 5
    assert "stopped at the rung of step 12: 2nd of 4" in reasons
    lacking = "stopped at the rung of step 4: a run of its setting has no finite test_accuracy"
    for first in range(0, 26, 2):
        pair = sweep.states[first : first + 2]
        if sorted(str(state.status) for state in pair) == ["diverged", "pruned"]:
            assert lacking in [state.reason for state in pair]


def test_the_table_has_those_that_came_furthest_first():
    table = optrun.sweep(HALVING, save=False).table()
    assert [row["pruned"] for row in table[:5]] == [None, 12, 12, 12, 4]
    medians = [row["median"] for row in table[1:4]]
    assert medians == sorted(medians, reverse=True)


OPTUNA = BASE | {
    "name": "asked",
    "sweep": {
        "method": "optuna",
        "trials": 21,
        "optuna": {"batch": 8},
        "parameters": {
            "optimizer.lr": {"loguniform": [1e-3, 1e2]},
            "optimizer.momentum": {"uniform": [0, 0.99]},
            "problem.batch_size": [16, 32],
        },
        "repeats": 2,
        "seed": 3,
    },
}


@pytest.fixture(params=["halving", "optuna"])
def study(request):
    if request.param == "optuna":
        pytest.importorskip("optuna")
    return {"halving": HALVING, "optuna": OPTUNA}[request.param]


@pytest.mark.full
def test_results_are_the_same_whatever_the_jobs_and_the_widths(study, tmp_path):
    plan, groups = prepared(study)
    digests = {
        name: digest_of(sweeps.sweep_plan(plan, groups, directory=tmp_path / name, **how))
        for name, how in {
            "one": {},
            "two": {"jobs": 2},
            "alone": {"lanes": 1},
            "two_by_three": {"jobs": 2, "lanes": 3},
        }.items()
    }
    assert len(set(digests.values())) == 1
    kept = sweeps.sweep_plan(plan, groups, save=False)
    assert kept.table() == optrun.sweep(study, directory=tmp_path / "one").table()


@pytest.mark.parametrize("packs", few_in_short(zip([5, 1, 8]), 3))
def test_an_interrupted_sweep_goes_on_as_if_nothing_had_happened(packs, study, tmp_path):
    whole = digest_of(optrun.sweep(study, directory="whole"))
    plan, groups = prepared(study)

    seen = []

    def interrupt(progress):
        if progress.packs == packs and not seen:
            seen.append(progress)
            signal.raise_signal(signal.SIGINT)

    part = sweeps.sweep_plan(plan, groups, lanes=5, observe=interrupt)
    assert part.signal == signal.SIGINT
    assert part.left
    rest = optrun.sweep(study)
    assert (rest.path, digest_of(rest)) == (part.path, whole)
    with Store.open(rest.path) as store:
        events = [event.kind for event in store.events()]
    # Each decision, and each generation, is noted once.
    assert events.count("rung") == (2 if study is HALVING else 0)
    assert events.count("plan") == (1 if study is HALVING else 3)
    seen.clear()
    assert optrun.sweep(study, observe=seen.append).table() == rest.table()
    assert not seen


def test_a_decision_stands_whatever_becomes_of_those_that_went_on():
    data = {
        "problem": "quadratic",
        "optimizer": "SGD",
        "scheduler": {"name": "LambdaLR", "lr_lambda": "1 if abs(t - 11) > 3 else 1000"},
        "steps": 40,
        "stop": {"divergence": None},
        "sweep": {
            "method": "halving",
            "halving": {"min_steps": 5, "factor": 3},
            "parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-2, 7]}},
        },
    }
    whole = optrun.sweep(data, directory="whole")
    assert [state.steps for state in whole.states] == [5] * 5 + [40, 15]
    plan, groups = prepared(data)
    part = sweeps.sweep_plan(plan, groups, lanes=1, limit=8)
    steps = [state.steps for state in part.states]
    worse = steps.index(15)
    losses = [state.summary["final_loss"] for state in part.states]
    assert losses[worse] > 10 * max(losses[:5])
    assert digest_of(optrun.sweep(data)) == digest_of(whole)


@pytest.mark.full
def test_a_limit_comes_through_the_stages_as_well(study):
    whole = digest_of(optrun.sweep(study, directory="whole"))
    lefts = []
    while (sweep := optrun.sweep(study, limit=7)).left:
        lefts.append(sweep.left)
    assert lefts == sorted(lefts, reverse=True)
    assert lefts[0] > lefts[-1] > 0
    assert digest_of(sweep) == whole


KILLED = """
import json, os, signal, sys
from optrun.api import sweeps
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.store import Store
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import grouped
data, left, before = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "before"
plan = expand(sweep_from_mapping(data))
def counted(write):
    def counting(self, *what, **named):
        global left
        left -= 1
        if left == 0 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, *what, **named)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return counting
Store.commit = counted(Store.commit)
sweeps.sweep_plan(plan, grouped(plan), lanes=5)
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_sweep_goes_on_as_if_nothing_had_happened(study, tmp_path):
    whole = digest_of(optrun.sweep(study, directory="whole"))
    Path("killed.py").write_text(KILLED)
    # One process after the other dies before or after a commit, each a little further.
    for i in range(12):
        arguments = [json.dumps(study), str(2 + i % 3), "before" if i % 2 else "after"]
        done = python("killed.py", *arguments)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert i > 3
    assert digest_of(optrun.sweep(study)) == whole


def test_optuna_is_asked_and_told_as_by_hand():
    optuna = pytest.importorskip("optuna")
    sweep = optrun.sweep(OPTUNA, save=False)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=3))
    settings, scores = [], []
    for count in (8, 8, 5):
        trials = [study.ask() for _ in range(count)]
        for trial in trials:
            lr = trial.suggest_float("optimizer.lr", 1e-3, 1e2, log=True)
            momentum = trial.suggest_float("optimizer.momentum", 0, 0.99)
            size = [16, 32][trial.suggest_categorical("problem.batch_size", range(2))]
            settings.append({"optimizer.lr": lr, "optimizer.momentum": momentum, "problem.batch_size": size})
        for trial in trials:
            first = sweep.runs[2 * len(scores)].config
            runs = [optrun.run(from_mapping(first | {"seed": seed}), save=False) for seed in (0, 1)]
            if any(run.status == "diverged" for run in runs):
                study.tell(trial, float("inf"))
                scores.append(None)
            else:
                scores.append(statistics.median(run.summary["final_loss"] for run in runs))
                study.tell(trial, scores[-1])
    assert 0 < scores.count(None) < 10
    assert [row["setting"] for row in sorted(sweep.table(), key=lambda row: row["first"])] == settings
    assert [run.config["optimizer"]["lr"] for run in sweep.runs[::2]] == [
        each["optimizer.lr"] for each in settings
    ]


DIVERGING = {
    "problem": {"name": "quadratic", "dim": 4},
    "optimizer": "SGD",
    "steps": 300,
    "sweep": {
        "trials": 60,
        "parameters": {
            "optimizer.lr": {"loguniform": [1e-4, 1e4]},
            "optimizer.momentum": {"uniform": [0, 0.9]},
        },
    },
}


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_optuna_learns_what_diverges(sampler, goal):
    pytest.importorskip("optuna")
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    asked = {"method": "optuna", "optuna": {"sampler": sampler, "batch": 10}}
    counts = []
    for method in ({"method": "random"}, asked):
        blocks = [DIVERGING["sweep"] | {"seed": seed, "metric": {"goal": goal}} | method for seed in (0, 1)]
        states = [
            each for block in blocks for each in optrun.sweep(DIVERGING | {"sweep": block}, save=False).states
        ]
        counts.append(sum(state.status == "diverged" for state in states))
    random, taught = counts
    assert taught < random - 10


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_optuna_goes_on_where_all_diverge(sampler):
    pytest.importorskip("optuna")
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    parameters = {"optimizer.lr": {"loguniform": [1e20, 1e30]}, "optimizer.momentum": {"uniform": [0, 0.9]}}
    options = {"method": "optuna", "optuna": {"sampler": sampler, "batch": 10}, "trials": 200}
    sweep = optrun.sweep(DIVERGING | {"sweep": options | {"parameters": parameters}}, save=False)
    assert [str(state.status) for state in sweep.states] == ["diverged"] * 200


def test_optuna_is_told_of_what_is_included_where_it_might_have_asked_for_it(monkeypatch):
    optuna = pytest.importorskip("optuna")
    made = []
    real = optuna.create_study

    def kept(**how):
        made.append(real(**how))
        return made[-1]

    monkeypatch.setattr(optuna, "create_study", kept)
    spaces = [
        {
            "parameters": {"optimizer.lr": {"loguniform": [1e-4, 1]}},
            "zip": {"optimizer.momentum": [0.0, 0.9]},
        },
        {"parameters": {"optimizer.lr": {"normal": [1e-3, 1e-4]}, "problem.dim": {"int": [2, 5]}}},
    ]
    include = [
        {"optimizer.lr": 5e-4, "optimizer.momentum": 0.9},
        {"optimizer.lr": 1e-3, "problem.dim": 3},
        {"optimizer.lr": 2.0, "optimizer.momentum": 0.9},  # too large
        {"optimizer.lr": 0.5, "optimizer.momentum": 0.8},  # none of the choices
        {"optimizer.lr": 0.5},  # of no space
        {"optimizer.lr": 0.1, "problem.dim": 3, "optimizer.momentum": 0.9},
    ]
    options = {"method": "optuna", "optuna": {"batch": 2}, "trials": 5}
    sweep = optrun.sweep(DIVERGING | {"sweep": options | {"spaces": spaces, "include": include}}, save=False)
    assert len(sweep.states) == 11
    trials = made[-1].trials
    assert len(trials) == 7
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert trials[2].params == {"space": 0, "0:optimizer.lr": 5e-4, "0:optimizer.momentum": 1}
    assert trials[3].params == {"space": 1, "1:optimizer.lr": 0.5, "1:problem.dim": 3}
    assert [trial.value for trial in trials[2:4]] == [
        state.summary["final_loss"] for state in sweep.states[:2]
    ]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_optuna_chooses_among_spaces_and_every_kind_of_axis(sampler):
    pytest.importorskip("optuna")
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    data = BASE | {
        "sweep": {
            "method": "optuna",
            "optuna": {"sampler": sampler, "batch": 10},
            "trials": 30,
            "parameters": {
                "problem.batch_size": {"logint": [8, 64]},
                "dtype": {"choice": ["float32", "float64"]},
            },
            "spaces": [
                {"parameters": {"optimizer.name": ["SGD"], "optimizer.momentum": {"linspace": [0, 0.9, 4]}}},
                {"parameters": {"optimizer.lr": {"normal": [0.1, 0.01]}}, "zip": {"optimizer": ["Adam"]}},
            ],
            "include": [{"optimizer": "RMSprop"}],
        }
    }
    sweep = optrun.sweep(data, save=False)
    assert len(sweep.runs) == 31
    settings = [row["setting"] for row in sorted(sweep.table(), key=lambda row: row["first"])]
    assert settings[0] == {"optimizer": "RMSprop"}
    momenta = {each["optimizer.momentum"] for each in settings if "optimizer.momentum" in each}
    assert momenta <= {0.0, 0.3, 0.6, 0.9}
    assert len(momenta) > 1
    rates = [each["optimizer.lr"] for each in settings if "optimizer.lr" in each]
    assert 1 < len(rates) < 30
    assert all(0.05 < rate < 0.15 for rate in rates)
    assert all(8 <= each["problem.batch_size"] <= 64 for each in settings[1:])


def test_another_optuna_is_told_from_the_one_that_asked(monkeypatch):
    pytest.importorskip("optuna")
    path = optrun.sweep(OPTUNA).path
    from optrun.sweeps.methods import optuna as module

    real = module._sampler
    monkeypatch.setattr(module, "_sampler", lambda optuna, name, seed: real(optuna, name, seed + 1))
    with pytest.raises(StoreError, match="holds other runs than this sweep"):
        optrun.sweep(OPTUNA, directory=path)


@pytest.mark.parametrize("package", ["optuna", "cmaes"])
def test_a_missing_package_is_told_with_its_command(package, monkeypatch):
    if package == "cmaes":
        pytest.importorskip("optuna")
    monkeypatch.setitem(sys.modules, package, None)
    data = OPTUNA | {"sweep": OPTUNA["sweep"] | {"optuna": {"sampler": "cmaes"}}}
    with pytest.raises(MissingExtraError, match=f"python -m pip install '{package}>="):
        optrun.sweep(data, save=False)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"steps": 4}, "sweep.halving.min_steps: must be < 4, the steps of a run (got 4)"),
        ({"steps": None, "epochs": 3}, "sweep.method: halving counts steps: give steps, not epochs"),
    ],
)
def test_rungs_below_the_end_of_all_runs_alone(more, said):
    with pytest.raises(ConfigErrors) as caught:
        expand(sweep_from_mapping(HALVING | more))
    assert str(caught.value) == f"<config>: {said}"


def test_runs_of_unlike_length_are_not_compared():
    block = HALVING["sweep"] | {"parameters": {"steps": [10, 20, 30]}, "trials": None}
    with pytest.raises(ConfigErrors, match="halving compares runs of equally many steps, not of 10 and 30"):
        expand(sweep_from_mapping(HALVING | {"sweep": block}))


def test_a_grid_is_halved_as_well():
    block = {
        "method": "halving",
        "halving": {"min_steps": 5, "factor": 2},
        "parameters": {"optimizer.lr": {"logspace": [1e-3, 10, 5]}},
    }
    sweep = optrun.sweep(HALVING | {"sweep": block}, save=False)
    stopped, through = by_hand(HALVING | {"sweep": block})
    assert [state.steps for state in sweep.states] == [stopped.get(i, 40) for i in range(5)]
    assert sorted(stopped.values()) == [5, 5, 5, 10]
    assert len(through) == 1


def test_where_all_diverge_none_goes_on():
    block = HALVING["sweep"] | {"parameters": {"optimizer.lr": [1e30, 2e30, 3e30]}, "trials": None}
    problem = {"problem": "rosenbrock", "steps": 40, "optimizer": "SGD", "sweep": block | {"metric": {}}}
    sweep = optrun.sweep(problem, save=False)
    assert {str(state.status) for state in sweep.states} == {"diverged"}


@pytest.mark.parametrize(
    ("place", "word"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (113, "113th"),
        (21, "21st"),
    ],
)
def test_places_in_words(place, word):
    assert ordinal(place) == word
