"""Which runs a sweep has: grids, pairs, additions, exceptions, and draws from the sweep's seed."""

import json
import math
import sys
import tracemalloc

import numpy as np
import pytest

from optrun.arrays import stream
from optrun.config import ConfigErrors
from optrun.config.identity import canonical_texts
from optrun.config.sweep.axes import Axis
from optrun.config.sweep.resolve import sweep_from_mapping, swept
from optrun.config.yaml.reader import read
from optrun.config.yaml.writer import to_yaml
from optrun.errors import MissingExtraError
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import grouped, pack_key
from optrun.sweeps.plan.spaces import inverse, quantile, spaces_of

BASE = {"problem": "rosenbrock", "optimizer": "Adam", "steps": 10}


def plan(**sweep):
    return expand(sweep_from_mapping(BASE | {"sweep": sweep}))


def values(**sweep):
    return [tuple(setting.values()) for setting in plan(**sweep).settings]


def test_a_grid_has_every_combination_the_last_parameter_the_fastest():
    found = values(parameters={"optimizer.lr": [1, 2], "problem.dim": [2, 3], "dtype": ["float64"]})
    assert found == [(1, 2, "float64"), (1, 3, "float64"), (2, 2, "float64"), (2, 3, "float64")]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ({"linspace": [0, 1, 5]}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"logspace": [1e-4, 1, 5]}, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        ({"logspace": [10, 0.1, 3]}, [10.0, 1.0, 0.1]),
        ({"logspace": [1.23456789012345e-4, 1 / 3, 2]}, [1.23456789012345e-4, 1 / 3]),
        ({"linspace": [1 / 3, 2 / 3, 2]}, [1 / 3, 2 / 3]),
        ({"linspace": [1 / 3, 2 / 3, 1]}, [1 / 3]),
        ({"linspace": [0.1, 0.7, 7]}, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ({"linspace": [0.3, 0.3, 1]}, [0.3]),
    ],
)
def test_spaced_values_are_those_one_would_type(axis, expected):
    assert values(parameters={"optimizer.lr": axis}) == [(value,) for value in expected]


@pytest.mark.parametrize(("axis", "expected"), [([2, 5], [2, 3, 4]), ([9, 2, -3], [9, 6, 3])])
def test_a_range_is_python_s(axis, expected):
    assert values(parameters={"steps": {"range": axis}}) == [(value,) for value in expected]


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_every_draw_has_all_values_that_are_crossed_with_it(method):
    pytest.importorskip("scipy")
    swept = {
        "method": method,
        "trials": 8,
        "spaces": [
            {"parameters": {"optimizer.name": [name], "optimizer.lr": {"loguniform": [1e-4, 1]}}}
            for name in ("SGD", "Adam")
        ],
    }
    crossed = {
        "parameters": {"problem.dim": [2, 3]},
        "zip": [{"steps": [10, 20], "dtype": ["float32", "float64"]}],
    }
    found = [dict(each) for each in plan(**swept, **crossed, cross=["problem.dim", "steps"]).settings]
    # The draws are those of a sweep without what is crossed, whatever is crossed with them.
    assert found == [
        {"problem.dim": dim, "steps": steps, "dtype": dtype, **drawn}
        for drawn in plan(**swept).settings
        for dim in (2, 3)
        for steps, dtype in ((10, "float32"), (20, "float64"))
    ]
    halved = plan(
        **(swept | {"method": "halving", "halving": {"min_steps": 3}}),
        parameters={"problem.dim": [2, 3]},
        cross=["problem.dim"],
    )
    assert len(halved.settings) == 16


def test_paired_values_are_not_crossed():
    zipped = {"optimizer.name": ["Adam", "SGD"], "optimizer.lr": [0.1, 0.2]}
    assert values(zip=zipped) == [("Adam", 0.1), ("SGD", 0.2)]
    assert values(zip=[zipped]) == values(zip=zipped)
    assert len(values(parameters={"problem.dim": [2, 3]}, zip=zipped)) == 4


def test_settings_are_added_and_left_out():
    grid = {"optimizer.lr": [0.1, 0.2], "problem.dim": [2, 3, 4]}
    found = values(
        parameters=grid,
        exclude=[{"optimizer.lr": 0.1, "problem.dim": [3, 4]}],
        include=[{"optimizer": {"name": "SGD", "lr": 7}}, {"steps": 3}],
    )
    assert found == [(0.1, 2), (0.2, 2), (0.2, 3), (0.2, 4), ({"name": "SGD", "lr": 7},), (3,)]


def test_a_section_is_set_before_what_is_within_it():
    found = plan(parameters={"optimizer.lr": [0.5], "optimizer": ["SGD", {"name": "Adam", "eps": 0.1}]})
    assert [config.optimizer.name for config in found.configs] == ["SGD", "Adam"]
    assert {config.optimizer.options["lr"] for config in found.configs} == {0.5}


def test_a_value_of_a_parameter_group_can_be_swept():
    base = {
        "problem": {"name": "softmax_regression", "data": "iris"},
        "optimizer": {"name": "SGD", "lr": 0.1, "param_groups": [{"params": "*bias", "lr": 0.2}]},
        "steps": 3,
        "sweep": {"parameters": {"optimizer.param_groups.0.lr": [0.3, 0.4], "problem.batch_size": [8, 16]}},
    }
    found = expand(sweep_from_mapping(base))
    rates = [config.optimizer.param_groups[0].options["lr"] for config in found.configs]
    assert rates == [0.3, 0.3, 0.4, 0.4]
    assert [config.problem.options["batch_size"] for config in found.configs] == [8, 16, 8, 16]


def test_what_is_swept_need_not_be_in_the_base():
    base = {
        "steps": 3,
        "sweep": {"parameters": {"problem": ["rosenbrock", "quadratic"], "optimizer": ["SGD"]}},
    }
    assert [config.problem.name for config in expand(sweep_from_mapping(base)).configs] == [
        "rosenbrock",
        "quadratic",
    ]


DRAWS = {
    "optimizer.lr": {"loguniform": [1e-4, 1e-1]},
    "steps": {"logint": [1, 1000]},
    "problem.dim": {"int": [2, 4]},
}


def drawn(trials=4000, seed=0, **parameters):
    found = plan(parameters=parameters or DRAWS, method="random", trials=trials, seed=seed).settings
    return {path: np.array([setting[path] for setting in found]) for path in found[0]}


@pytest.mark.full
def test_draws_have_their_distributions():
    lr = drawn(**{"optimizer.lr": {"uniform": [0.2, 0.4]}})["optimizer.lr"]
    assert 0.2 <= lr.min() < 0.205
    assert 0.395 < lr.max() < 0.4
    columns = drawn()
    logs = np.log10(columns["optimizer.lr"])
    assert -4 <= logs.min() < -3.98
    assert -1.02 < logs.max() <= -1
    assert abs(np.median(logs) + 2.5) < 0.1
    assert set(columns["problem.dim"]) == {2, 3, 4}
    assert np.bincount(columns["problem.dim"])[2:].min() > 1200
    steps = columns["steps"]
    assert steps.min() == 1
    assert 950 < steps.max() <= 1000
    assert abs(np.mean(steps == 1) - math.log(3) / math.log(1000.5 / 0.5)) < 0.02
    normal = drawn(**{"optimizer.lr": {"normal": [5.0, 0.1]}})["optimizer.lr"]
    assert abs(normal.mean() - 5) < 0.01
    assert abs(normal.std() - 0.1) < 0.01
    assert set(drawn(**{"optimizer.lr": {"choice": [0.1, 0.2]}})["optimizer.lr"]) == {0.1, 0.2}
    assert set(drawn(**{"optimizer.lr": [0.1, 0.2]})["optimizer.lr"]) == {0.1, 0.2}


def test_draws_depend_on_the_sweep_s_seed_alone():
    first, again, other = drawn(20), drawn(20), drawn(20, seed=1)
    for path in DRAWS:
        assert list(first[path]) == list(again[path])
        assert list(first[path]) != list(other[path])
    # More trials, or another parameter beside it, change none of the draws.
    more = drawn(30, **DRAWS, **{"optimizer.eps": {"uniform": [0, 1]}})
    for path in ("optimizer.lr", "problem.dim"):
        assert list(more[path][:20]) == list(first[path])


SPACES = [
    {"parameters": {"optimizer.name": ["SGD"], "optimizer.lr": [0.1, 0.2], "optimizer.momentum": [0.9]}},
    {"zip": {"optimizer.name": ["Adam", "RMSprop"], "optimizer.eps": [1e-8, 1e-7]}},
]


def test_the_union_of_spaces_each_crossed_with_what_is_beside_them():
    found = values(parameters={"problem.dim": [2, 3]}, spaces=SPACES, include=[{"steps": 3}])
    assert found == [
        *((dim, "SGD", lr, 0.9) for dim in (2, 3) for lr in (0.1, 0.2)),
        *((dim, *pair) for dim in (2, 3) for pair in (("Adam", 1e-8), ("RMSprop", 1e-7))),
        (3,),
    ]


def test_a_space_leaves_out_its_own_settings_and_all_leave_out_those_of_the_sweep():
    spaces = [SPACES[0] | {"exclude": [{"problem.dim": 2, "optimizer.lr": 0.1}]}, SPACES[1]]
    found = values(parameters={"problem.dim": [2, 3]}, spaces=spaces, exclude=[{"problem.dim": 3}])
    assert found == [(2, "SGD", 0.2, 0.9), (2, "Adam", 1e-8), (2, "RMSprop", 1e-7)]


def test_optimizers_and_schedulers_are_names_mappings_and_null():
    found = plan(
        parameters={
            "optimizer": ["Adam", {"name": "SGD", "momentum": 0.9}],
            "scheduler": [None, {"name": "ExponentialLR", "gamma": 0.5}, {"name": "StepLR", "step_size": 2}],
        }
    )
    names = [(each.optimizer.name, each.scheduler and each.scheduler.name) for each in found.configs]
    schedules = [None, "ExponentialLR", "StepLR"]
    assert names == [(name, schedule) for name in ("Adam", "SGD") for schedule in schedules]
    assert [each.optimizer.options.get("momentum") for each in found.configs] == [None] * 3 + [0.9] * 3


RATES = {"optimizer.lr": {"uniform": [0, 1]}}


EQUAL = {
    "spaces": (
        {
            "spaces": [
                {"parameters": {"optimizer.lr": [0.1, 0.2]}},
                {"parameters": {"optimizer.lr": [0.2, 0.3], "optimizer.name": ["Adam", "SGD"]}},
            ]
        },
        [(0.1,), (0.2,), (0.2, "SGD"), (0.3, "Adam"), (0.3, "SGD")],
        1,
    ),
    "include": (
        {
            "parameters": {"optimizer.lr": [0.1, 0.2]},
            "include": [{"optimizer": {"name": "Adam", "lr": 0.2}}, {"steps": 10}],
        },
        [(0.1,), (0.2,), (10,)],
        1,
    ),
    "numbers": ({"parameters": {"optimizer.lr": [1, 2, 1.0]}}, [(1,), (2,)], 1),
    "names": ({"parameters": {"optimizer.name": ["adam", "SGD", "Adam"]}}, [("adam",), ("SGD",)], 1),
    "draws": (
        {"parameters": {"optimizer.lr": [0.1, 0.2]}, "method": "random", "trials": 20},
        [(0.1,), (0.2,)],
        18,
    ),
    "halving": (
        {
            "parameters": {"optimizer.lr": [0.1, 0.2], "dtype": ["float64"]},
            "include": [{"optimizer.lr": 0.1, "dtype": "float64"}],
            "method": "halving",
            "halving": {"min_steps": 3},
        },
        [(0.1, "float64"), (0.2, "float64")],
        1,
    ),
    "none": ({"parameters": {"optimizer.lr": [0.1, 0.2]}}, [(0.1,), (0.2,)], 0),
}


@pytest.mark.parametrize("case", EQUAL)
def test_settings_with_equal_configs_are_run_once(case):
    sweep, expected, equal = EQUAL[case]
    found = plan(**sweep, repeats=2)
    assert sorted(tuple(setting.values()) for setting in found.settings) == sorted(expected)
    assert found.equal == equal
    documents = [json.dumps(each) for each in found.documents]
    assert len(set(documents)) == len(documents) == len(found.configs) == 2 * len(expected) == found.size
    assert [each.to_dict() for each in found.configs] == found.documents
    assert list(found.texts()) == list(canonical_texts(found.documents))
    stored = [(json.dumps(each, separators=(",", ":")), each["seed"]) for each in found.documents]
    assert list(found.rows()) == stored
    assert sorted(run for group in grouped(found) for run in group.runs) == [*range(found.size)]
    assert all(len({pack_key(found.documents[run]) for run in group.runs}) == 1 for group in grouped(found))


def test_a_plan_is_extended_by_what_is_new_alone():
    before = plan(parameters={"optimizer.lr": [0.1, 0.2]})
    after = before.extended(plan(parameters={"optimizer.lr": [0.3]}).nodes)
    assert [setting["optimizer.lr"] for setting in after.settings] == [0.1, 0.2, 0.3]
    assert after.documents[2]["optimizer"]["lr"] == 0.3
    for kept in ("documents", "settings", "configs"):
        assert getattr(after, kept)[:2] == getattr(before, kept)
    kinds = [next(each.columns[1].of_kinds_and_seeds([0]))[0][0] for each in (before, after)]
    assert kinds[0] is kinds[1]


@pytest.mark.full  # what tracemalloc takes
def test_a_run_takes_a_few_hundred_bytes_of_a_plan():
    def planned(side):
        found = plan(
            parameters={
                "optimizer.lr": {"logspace": [1e-4, 1e-1, side]},
                "optimizer.beta1": {"linspace": [0.1, 0.9, side]},
            }
        )
        return found, grouped(found)

    planned(2)  # what is made once for all sweeps
    tracemalloc.start()
    try:
        found, groups = planned(141)
        now, peak = (each / found.size for each in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert found.size == 141**2
    assert [group.runs for group in groups] == [range(found.size)]
    assert now < 300
    assert peak < 800


@pytest.mark.parametrize("method", ["random", "sobol"])
@pytest.mark.parametrize(
    ("trials", "own", "expected"), [(7, [None] * 3, [3, 2, 2]), (None, [4, 1, 2], [4, 1, 2])]
)
def test_trials_are_those_of_a_space_or_divided_among_them(method, trials, own, expected):
    if method == "sobol":
        pytest.importorskip("scipy")
    names = ["Adam", "SGD", "RMSprop"]
    spaces = [
        {"parameters": {"optimizer.name": [name], **RATES}} | ({"trials": count} if count else {})
        for name, count in zip(names, own, strict=True)
    ]
    found = plan(method=method, spaces=spaces, **({"trials": trials} if trials else {}))
    assert [each.optimizer.name for each in found.configs] == [
        name for name, count in zip(names, expected, strict=True) for _ in range(count)
    ]
    # What is drawn of one parameter differs from space to space.
    assert len({setting["optimizer.lr"] for setting in found.settings}) == sum(expected)


QUANTILES = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.999, 1 - 2.0**-53])


@pytest.mark.parametrize(
    ("axis", "distribution", "parameters"),
    [
        ({"uniform": [-1, 3]}, "uniform", (-1, 4)),
        ({"loguniform": [1e-4, 10]}, "loguniform", (1e-4, 10)),
        ({"normal": [2, 0.5]}, "norm", (2, 0.5)),
        ({"normal": [2, 0.5, 1, 2.25]}, "truncnorm", (-2, 0.5, 2, 0.5)),
        ({"int": [-2, 5]}, "randint", (-2, 6)),
    ],
)
def test_values_are_at_the_quantiles_of_their_distribution(axis, distribution, parameters):
    stats = pytest.importorskip("scipy.stats")
    block = sweep_from_mapping(
        BASE | {"sweep": {"method": "random", "trials": 1, "parameters": {"steps": axis}}}
    )
    (space,) = spaces_of(block)
    found = [setting["steps"].value for setting in space.dimensions[0].at(QUANTILES)]
    expected = getattr(stats, distribution).ppf(QUANTILES, *parameters)
    if distribution == "randint":  # the smallest k with P(X ≤ k) > q, not ≥ q, since quantiles are below 1
        expected = np.floor(QUANTILES * 8) - 2
    if distribution == "truncnorm":
        assert found[0] == 1  # the least value
        assert [quantile(space.dimensions[0].axis, each) for each in found] == pytest.approx(QUANTILES)
        assert quantile(space.dimensions[0].axis, 2.5) is None
    inner = slice(1, None) if distribution == "norm" else slice(None)  # the quantile 0 is at -∞
    assert np.allclose(found[inner], expected[inner], rtol=1e-12, atol=0)
    assert np.isfinite(found).all()


def test_the_ends_of_a_normal_distribution_have_finite_values():
    low, high = inverse(Axis("normal", (0.1, 0.01)), np.array([0.0, 1.0]))
    assert 0.0 < low < 0.1 < high < 0.2


def test_sobol_points_are_those_of_scipy_through_the_inverse_distributions():
    qmc = pytest.importorskip("scipy.stats.qmc")
    names = ["Adam", "SGD", "RMSprop"]
    parameters = {
        "optimizer.lr": {"loguniform": [1e-4, 1]},
        "steps": {"int": [3, 10]},
        "optimizer.name": {"choice": names},
        "problem.dim": {"logint": [2, 9]},
        "dtype": ["float32", "float64"],
    }
    found = values(method="sobol", trials=16, seed=5, parameters=parameters)
    u = qmc.Sobol(5, rng=stream(5, "sweep sobol")).random(16)
    expected = zip(
        1e-4 * 10 ** (4 * u[:, 0]),
        3 + np.floor(8 * u[:, 1]),
        [names[int(3 * each)] for each in u[:, 2]],
        np.rint(1.5 * (9.5 / 1.5) ** u[:, 3]),
        ["float32" if each < 0.5 else "float64" for each in u[:, 4]],
        strict=True,
    )
    for (lr, *rest), (rate, *others) in zip(found, expected, strict=True):
        assert lr == pytest.approx(rate, rel=1e-12)
        assert rest == others
    # Scrambled Sobol' points are balanced: each eighth has two of sixteen.
    assert np.bincount([steps - 3 for _, steps, *_ in found]).tolist() == [2] * 8
    assert values(method="sobol", trials=16, seed=6, parameters=parameters) != found


def test_sobol_without_scipy_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats.qmc", None)
    with pytest.raises(MissingExtraError, match="python -m pip install 'scipy>=1.15'"):
        plan(method="sobol", trials=4, parameters=RATES)


def test_the_digest_is_that_of_all_runs_and_the_ranking():
    base = {"optimizer.lr": [0.1, 0.2]}
    digests = [
        plan(parameters=base).digest,
        plan(parameters=base, repeats=2).digest,
        plan(parameters={"optimizer.lr": [0.2, 0.1]}).digest,
        plan(parameters=base, metric={"goal": "maximize"}).digest,
        *(
            plan(parameters=base, method="halving", halving={"min_steps": step, "factor": factor}).digest
            for step, factor in ((3, 2), (4, 2), (4, 3))
        ),
    ]
    assert len(set(digests)) == 7
    assert plan(parameters={"optimizer.lr": {"linspace": [0.1, 0.2, 2]}}).digest == digests[0]


@pytest.mark.full
def test_parameters_are_drawn_apart():
    axes = {f"optimizer.{name}": {"uniform": [0.0, 1.0]} for name in ("lr", "eps", "weight_decay")}
    columns = np.array(list(drawn(2000, **axes).values()))
    assert np.abs(np.corrcoef(columns) - np.eye(3)).max() < 0.1


@pytest.mark.parametrize(("trials", "said"), [(8, "… and "), (4000, "… and at least 99 other values")])
def test_what_is_wrong_with_many_draws_is_said_once(trials, said):
    with pytest.raises(ConfigErrors) as error:
        plan(parameters={"optimizer.lr": {"uniform": [-1, 0.1]}}, method="random", trials=trials)
    (issue,) = error.value.issues
    assert issue.message.startswith("must be ≥ 0 (got -0.")
    assert said in issue.message


def test_what_is_wrong_with_each_listed_value_has_its_place():
    text = f"{to_yaml(BASE)}sweep: {{parameters: {{optimizer.lr: [-1, -2], steps: [1, 2]}}}}"
    with pytest.raises(ConfigErrors) as error:
        expand(swept(read(text, "f.yaml")))
    assert [issue.message for issue in error.value.issues] == ["must be ≥ 0 (got -1)", "must be ≥ 0 (got -2)"]


def test_all_optimizers_that_do_not_suit_a_problem_are_told_at_once():
    space = {"optimizer.name": ["AdaMuon", "SGD", "NorMuon", "Muon"]}
    base = BASE | {"problem": {"name": "mlp", "data": "iris", "hidden": [3]}}
    runs = expand(sweep_from_mapping(base | {"sweep": {"parameters": space}}))
    with pytest.raises(ConfigErrors) as caught:
        grouped(runs)
    assert [issue.message.partition(":")[0] for issue in caught.value.issues] == [
        "AdaMuon",
        "NorMuon",
        "Muon",
    ]
