"""Packs that keep all jobs busy, and groups that cannot be built."""

import itertools
import sys

import numpy as np
import pytest

import optrun
from optrun.config import ConfigErrors, from_mapping
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.errors import MissingExtraError
from optrun.plugins import load_plugin
from optrun.problems import regression
from optrun.registry import optimizers
from optrun.sweeps.plan import width
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import Group, divided, grouped, pack_key
from optrun.training.pack import Pack
from tests.sweeps.support import prepared

TOO_LARGE = 200_000_000_000


def groups_of(*sizes, width=4096, work=1):
    first, groups = 0, []
    for size in sizes:
        groups.append(Group(range(first, first + size), width, 1, work * size))
        first += size
    return groups, range(first)


@pytest.mark.parametrize(
    ("sizes", "jobs", "most"),
    [
        ((1000, 1), 2, 501),
        ((1, 1000), 2, 501),
        ((500, 500), 2, 500),
        ((300, 300, 300), 2, 495),
        ((1000, 10, 10, 10), 4, 1030 / 4 * 1.1),
        ((1, 1), 8, 1),
    ],
)
def test_no_job_has_more_than_its_share(sizes, jobs, most):
    groups, runs = groups_of(*sizes)
    found = divided(groups, runs, jobs)
    assert sorted(run for pack in found for run in pack) == list(runs)
    busy = [0] * jobs
    for pack in found:
        busy[busy.index(min(busy))] += len(pack)
    assert max(busy) <= most


def test_the_largest_packs_come_first_by_work_and_equal_ones_in_the_order_of_the_plan():
    light, _ = groups_of(64)
    heavy = Group(range(64, 66), 1, 1, 2000)
    found = [list(pack) for pack in divided([*light, heavy], range(66), 2)]
    assert found[:2] == [[64], [65]]
    assert found[2:] == sorted(found[2:])
    # One job does them as they are planned.
    assert [list(pack) for pack in divided([*light, heavy], range(66), 1)[-2:]] == [[64], [65]]


def test_a_group_of_one_lane_packs_is_not_split_further():
    groups, runs = groups_of(5, width=1)
    assert [list(pack) for pack in divided(groups, runs, 2)] == [[0], [1], [2], [3], [4]]


def test_what_is_nearly_even_is_not_divided_further():
    groups, runs = groups_of(10, 9, 3)
    assert [len(pack) for pack in divided(groups, runs, 2)] == [10, 9, 3]


def test_the_seeds_of_a_setting_stay_together_where_each_job_has_four_settings():
    group = Group(range(16), 8, 2, 16)
    assert (group.block(16, 8, 2), group.block(15, 8, 2), group.block(16, 1, 2)) == (2, 1, 1)


@pytest.mark.parametrize("split", [0, "seed"])
def test_a_group_knows_its_work_and_what_predicts_without_training_where_seeds_share_the_split(split):
    _, groups = prepared(
        {
            "problem": {"name": "softmax_regression", "data": "iris", "split_seed": split},
            "optimizer": "SGD",
            "steps": 5,
            "sweep": {"parameters": {"optimizer.lr": [0.1, 0.2]}, "repeats": 2},
        }
    )
    assert sum(group.work for group in groups) == 4 * 5 * (4 * 3 + 3)
    assert [len(group.baselines) for group in groups] == ([1] if split == 0 else [0, 0])


NETWORKS = {
    "problem": {"name": "mlp", "data": "iris"},
    "optimizer": "SGD",
    "steps": 2,
    "sweep": {"parameters": {"problem.hidden": [[8], [TOO_LARGE]], "optimizer.lr": [0.1, 0.2]}},
}


def test_what_does_not_fit_into_memory_fails_alone(caplog):
    with caplog.at_level("DEBUG", "optrun"):
        _, groups = prepared(NETWORKS)
    assert "run 2 cannot be built" in caplog.text
    assert [(group.width, not group.data) for group in groups][1] == (1, True)
    sweep = optrun.sweep(NETWORKS)
    assert [str(state.status) for state in sweep.states] == ["completed"] * 2 + ["failed"] * 2
    assert "Memory" in sweep.states[2].reason
    with pytest.raises(ConfigErrors):  # a mistake in the config is one all the same
        optrun.sweep(NETWORKS | {"optimizer": {"param_groups": [{"params": "nothing", "lr": 0.1}]}})


def test_a_missing_package_is_told_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        optrun.sweep(NETWORKS | {"problem": "quadratic", "engine": "numba", "sweep": {"repeats": 2}})
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def forget():
    yield
    optimizers._classes.pop("choosy", None)
    optimizers._names.pop("choosy", None)


@pytest.mark.full
@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_plugin_cannot_build_fails_alone(jobs, tmp_path):
    (tmp_path / "choosy.py").write_text(
        "from optrun.optim import SGD\n"
        "class Choosy(SGD):\n"
        "    def __init__(self, *args, **options):\n"
        "        if options.get('nesterov'):\n"
        "            raise ValueError('not today')\n"
        "        super().__init__(*args, **options)\n"
    )
    load_plugin(str(tmp_path / "choosy.py"))
    data = {
        "problem": "quadratic",
        "optimizer": {"name": "Choosy", "momentum": 0.9},
        "steps": 3,
        "sweep": {"parameters": {"optimizer.nesterov": [True, False], "optimizer.lr": [1e-4, 2e-4]}},
    }
    sweep = optrun.sweep(data, jobs=jobs, plugins=[str(tmp_path / "choosy.py")])
    assert [str(state.status) for state in sweep.states] == ["failed"] * 2 + ["completed"] * 2
    assert "not today" in sweep.states[0].reason


def test_equal_problems_are_built_once(monkeypatch):
    built = []
    real = regression.SoftmaxRegression.__init__

    def counted(self, *args, **options):
        built.append(options.get("batch_size"))
        real(self, *args, **options)

    data = {
        "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 8},
        "optimizer": "SGD",
        "steps": 2,
        "sweep": {
            "parameters": {"optimizer.name": ["SGD", "Adam", "RMSprop"], "problem.batch_size": [8, 16]}
        },
    }
    plan = expand(sweep_from_mapping(data))
    monkeypatch.setattr(regression.SoftmaxRegression, "__init__", counted)
    groups = grouped(plan)
    assert built == [8, 16]
    assert [group.runs[0] for group in groups] == list(range(6))


@pytest.mark.parametrize(
    "more",
    [
        {"evaluate": {"every": 10}},
        {"record": {"metrics": ["grad_norm", "momentum"]}},
        {"optimizer": {"name": "SGD", "param_groups": [{"params": "*bias", "lr": 0.2}]}},
    ],
)
def test_the_width_counts_all_that_is_recorded(more):
    base = {
        "problem": {"name": "softmax_regression", "data": "iris"},
        "optimizer": "SGD",
        "steps": 1_000_000,
        "sweep": {"repeats": 3},
    }
    assert prepared(base | more)[1][0].width < prepared(base)[1][0].width


def test_the_width_counts_the_state_of_the_rule(monkeypatch):
    monkeypatch.setattr(width, "l2_bytes", lambda: 1 << 40)
    widths = [
        prepared(
            {
                "problem": {"name": "quadratic", "dim": 10_000},
                "optimizer": name,
                "steps": 1,
                "sweep": {"repeats": 3},
            }
        )[1][0].width
        for name in ("Adam", {"name": "SGD", "momentum": 0.9}, "SGD")
    ]
    # Parameters and gradients of 4 bytes each, and beside them two, one and no array of state; two numbers of a row.
    assert widths == [width.MAX_BYTES // size for size in (160_016, 120_016, 80_016)]


def test_a_float_of_an_option_that_may_be_none_is_one_for_the_pack():
    data = {
        "problem": "quadratic",
        "optimizer": {"name": "Adafactor", "param_groups": [{"params": "*", "eps1": None}]},
        "steps": 2,
        "sweep": {
            "parameters": {
                "optimizer.eps1": [1e-30, 1e-20],
                "optimizer.param_groups.0.eps1": [None, 1e-8],
                "optimizer.lr": [0.1, 0.2],
            }
        },
    }
    assert [list(group.runs) for group in prepared(data)[1]] == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("scheduler", "path"),
    [
        ({"name": "CosineAnnealingWarmRestarts", "T_0": 4}, "gamma"),
        ({"name": "StepLR", "step_size": 4, "warmup": 3}, "warmup_start"),
        (
            {
                "name": "SequentialLR",
                "schedulers": [{"name": "CosineAnnealingWarmRestarts", "T_0": 2}, {"name": "ConstantLR"}],
                "milestones": [6],
            },
            "schedulers.0.gamma",
        ),
    ],
)
def test_an_added_option_may_differ_from_its_default_in_one_pack_and_along_both_axes_of_a_map(
    scheduler, path
):
    base = {"problem": "rosenbrock", "optimizer": {"name": "SGD", "lr": 1e-3}, "steps": 9}
    base["scheduler"] = scheduler
    default = {"gamma": 1.0, "warmup_start": 0.0}[path.rpartition(".")[2]]
    axes = {f"scheduler.{path}": [default, 0.5], "optimizer.lr": [1e-3, 2e-3]}
    alone = {
        pair: optrun.run(
            base, overrides=[f"{name}={of}" for name, of in zip(axes, pair, strict=True)], save=False
        )
        for pair in itertools.product(*axes.values())
    }
    configs = [from_mapping(run.config) for run in alone.values()]
    assert len({pack_key(config.to_dict()) for config in configs}) == 1
    assert np.ptp(Pack(configs).optimizer.param_groups[0]["lr"]) > 0
    across, along = axes
    for x, y in ((across, along), (along, across)):
        found = optrun.map({**base, "map": {"x": {x: axes[x]}, "y": {y: axes[y]}}}).values
        losses = [run.summary["final_loss"] for run in alone.values()]
        expected = np.reshape(losses, (2, 2))
        assert found.tolist() == (expected.T if x == across else expected).tolist()
