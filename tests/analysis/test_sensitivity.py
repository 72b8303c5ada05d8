"""A metric against a swept parameter: which one, which lines, and what is in sight."""

import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

import optrun
from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.sensitivity import (
    NO_VALUE,
    NOT_POSITIVE,
    default_parameter,
    heading,
    numeric_parameters,
    ranked_by,
    sensitivities,
    sensitivity,
    visible_range,
)
from optrun.errors import ConfigError
from optrun.plots.figure import save
from optrun.plots.sensitivity_figure import sensitivity_figure
from optrun.plots.ticks import labels
from optrun.store import RunState, Status


def ended(value, status=Status.COMPLETED):
    return RunState(status=status, summary={"final_loss": value, "test_accuracy": value and 1 / (1 + value)})


class Results:
    """Runs without evaluations."""

    def __init__(self, states):
        self.states = lambda: states
        self.series = lambda names: iter(())
        self.seconds = dict


def stopped(value, steps=20):
    return RunState(status=Status.PRUNED, steps=steps, summary={"final_loss": value})


GONE = RunState(status=Status.DIVERGED)


def plan(settings, repeats=1, maximize=False):
    return SweepPlan(settings, repeats, "final_loss", maximize)


def over_lr(rates, repeats=1):
    return plan([{"optimizer.lr": rate} for rate in rates], repeats)


GRID = [
    {"optimizer.name": name, "optimizer.lr": lr}
    for name in ("SGD", "Adam")
    for lr in (1.0, 0.01, 0.1)  # not in their order
]


def test_each_combination_of_the_others_is_a_line_over_increasing_values():
    states = [ended(value) for value in (9, 3, 2, 8, 1, 4)]
    found = sensitivity(plan(GRID), states)
    assert [line.label for line in found.lines] == ["Adam", "SGD"]
    assert [line.x.tolist() for line in found.lines] == [[0.01, 0.1, 1.0]] * 2
    assert found.lines[0].median.tolist() == [1, 4, 8]
    assert found.lines[1].median.tolist() == [3, 2, 9]
    assert found.best.setting == {"optimizer.name": "Adam", "optimizer.lr": 0.01}
    assert all(line.joined for line in found.lines)
    assert heading(found) == "one seed\n★ Adam, optimizer.lr=0.01: final_loss 1"


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({}, "optimizer.lr=0.1"),
        (
            {"optimizer.weight_decay": 0.0123456, "optimizer.beta1": 0.9},
            "optimizer.lr=0.1, optimizer.weight_decay=0.01235, optimizer.beta1=0.9",
        ),
        (
            {"optimizer.weight_decay": 0.0123456, "optimizer.amsgrad": True, "problem.batch_size": 32},
            "optimizer.lr=0.1, optimizer.weight_decay=0.01235, optimizer.amsgrad=true and 1 more",
        ),
        (
            {f"optimizer.param_groups.{n}.weight_decay": 0.1 * n for n in range(3)},
            "optimizer.lr=0.1, optimizer.param_groups.0.weight_decay=0 and 2 more",
        ),
    ],
)
def test_the_best_setting_is_told_with_all_that_varies(others, said):
    settings = [
        {
            "optimizer.lr": lr,
            **{path: value if lr == 0.1 else -lr for path, value in others.items()},
        }
        for lr in (0.1, 1.0, 10.0)
    ]
    found = sensitivity(plan(settings), [ended(1.0), ended(2.0), ended(3.0)])
    assert heading(found) == f"one seed\n★ {said}: final_loss 1"


def test_diverged_seeds_are_the_worst_and_a_setting_whose_median_is_one_is_a_gap():
    states = [ended(4.0), ended(2.0), ended(6.0), *(ended(1.0), GONE, ended(3.0)), *(GONE, GONE, ended(0.0))]
    found = sensitivity(over_lr([0.1, 1.0, 10.0], 3), states)
    (line,) = found.lines
    assert line.median.tolist()[:2] == [4, 3]
    assert np.isnan(line.median[2])
    assert (line.lower[0], line.upper[0]) == (3, 5)
    assert {why: shares.tolist() for why, shares in line.without_value.items()} == {
        "diverged": [0, 1 / 3, 2 / 3]
    }
    assert found.best.setting == {"optimizer.lr": 1.0}
    assert heading(found).endswith("final_loss 3 (1 of 3 diverged)")


@pytest.mark.parametrize(
    ("rates", "log"),
    [
        (np.geomspace(1e-4, 10, 11), True),
        (np.linspace(1e-3, 1, 9), False),
        ([1e-3, 3e-3, 1e-2, 3e-2, 0.1], True),
        ([0.0, 0.001, 1.0], False),
        ([0.1, 1.0], True),
        ([0.5, 1.0], False),
        (np.exp(np.random.default_rng(0).uniform(-9, 0, 200)), True),
        (np.random.default_rng(0).uniform(0.01, 1, 200), False),
    ],
)
def test_the_axis_is_logarithmic_where_the_spacing_is(rates, log):
    rates = [float(rate) for rate in rates]
    assert sensitivity(over_lr(rates), [ended(1.0)] * len(rates)).log is log


def test_the_rate_is_meant_or_the_only_number():
    both = plan([{"optimizer.lr": lr, "optimizer.eps": 1e-8 * lr} for lr in (1, 2)])
    assert default_parameter(both) == "optimizer.lr"
    other = plan([{"steps": steps, "optimizer.amsgrad": steps > 5} for steps in (5, 10)])
    assert numeric_parameters(other) == ["steps"]
    assert default_parameter(other) == "steps"
    unclear = plan([{"steps": n, "optimizer.eps": n} for n in (1, 2)])
    assert default_parameter(unclear) is None
    states = [ended(1.0)] * 2
    with pytest.raises(ConfigError, match="Name one of the numbers that vary: steps, optimizer.eps"):
        sensitivity(unclear, states)
    assert sensitivity(unclear, states, "eps").parameter == "optimizer.eps"
    with pytest.raises(ConfigError, match="Did you mean 'optimizer.eps'"):
        sensitivity(unclear, states, "optimizer.esp")
    with pytest.raises(ConfigError, match="no number varies in this sweep, only optimizer.name"):
        sensitivity(plan([{"optimizer.name": "SGD"}]), states)


def test_numbers_drawn_at_random_beside_it_make_points_and_no_lines():
    rng = np.random.default_rng(0)
    settings = [
        {"optimizer.name": name, "optimizer.lr": float(rng.random()), "optimizer.eps": float(rng.random())}
        for name in ["SGD", "Adam"] * 10
    ]
    found = sensitivity(plan(settings), [ended(1.0)] * 20)
    assert {line.label for line in found.lines} == {"SGD", "Adam"}
    assert not any(line.joined for line in found.lines)
    assert all((np.diff(line.x) >= 0).all() for line in found.lines)


def test_settings_without_the_parameter_are_left_out():
    settings = [{"optimizer.name": "A", "optimizer.lr": lr} for lr in (0.1, 1.0)]
    settings += [{"optimizer.name": "B", "optimizer.rho": 0.9}]
    found = sensitivity(plan(settings), [ended(3.0), ended(2.0), ended(1.0)])
    assert len(found.lines) == 1
    assert found.best.setting["optimizer.lr"] == 1.0
    assert found.left_out == 1


def test_settings_that_were_pruned_are_told_from_those_that_came_to_the_end():
    states = [stopped(1.0), ended(3.0), stopped(0.5), GONE]
    (line,) = sensitivity(over_lr([0.1, 1.0, 10.0, 100.0]), states).lines
    assert line.pruned.tolist() == [True, False, True, False]
    assert line.median.tolist()[:3] == [1, 3, 0.5]


def test_a_line_goes_through_what_came_to_the_end_alone(monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    drawn, plot = [], Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda *args, **more: drawn.append((*args[1:3], more)) or plot(*args, **more)
    )
    states = [ended(2.0), stopped(9.0), ended(1.0), stopped(8.0)]
    sensitivity_figure(sensitivity(over_lr([0.1, 1.0, 10.0, 100.0]), states), name="a sweep")
    by_style = {more["linestyle"]: list(x) for x, _, more in drawn[:2]}
    assert by_style == {"-": [0.1, 10.0], "none": [1.0, 100.0]}


def test_a_parameter_of_the_problem_joins_its_problems_and_names_no_best_one():
    settings = [{"problem.dim": dim, "optimizer.lr": lr} for dim in (2, 4, 8) for lr in (0.1, 1.0)]
    labels = [f"quadratic dim={each['problem.dim']}" for each in settings]
    made = replace(plan(settings), problems=labels)
    states = [ended(value) for value in (1, 2, 3, 4, 5, 6)]
    found = sensitivity(made, states, "problem.dim")
    assert (found.best, found.problem, heading(found)) == (None, None, "one seed")
    assert [(line.label, line.median.tolist()) for line in found.lines] == [
        ("lr=0.1", [1, 3, 5]),
        ("lr=1", [2, 4, 6]),
    ]
    assert [each.best.median for each in sensitivities(made, states, "lr")] == [1, 3, 5]
    with pytest.raises(ConfigError, match="a sensitivity is of one problem: --problem takes one of"):
        sensitivity(made, states, "lr")
    assert sensitivity(made, states, "lr", problem="dim=4").best.median == 3


def test_another_figure_is_drawn_by_its_name():
    results = Results([ended(3.0), ended(1.0)])
    found = sensitivity(*ranked_by(over_lr([0.1, 1.0]), results, "test_accuracy"))
    assert found.lines[0].median.tolist() == [0.25, 0.5]
    assert (found.maximize, found.best.setting["optimizer.lr"]) == (True, 1.0)
    with pytest.raises(ConfigError, match="Did you mean 'test_accuracy'"):
        ranked_by(over_lr([0.1, 1.0]), results, "accuracy")
    with pytest.raises(ConfigError, match="no run has ended yet"):
        ranked_by(over_lr([0.1, 1.0]), Results([RunState(status=Status.RUNNING)] * 2), "accuracy")


@pytest.mark.parametrize(
    ("metric", "maximize"),
    [
        ("test_score", True),  # as that of the validation data, by which the sweep selects
        ("best_val_score", True),
        ("area_average_train_score", True),
        ("test_loss", False),
        ("last_3_test_accuracy", True),
        ("steps_to_target", False),
    ],
)
def test_figures_of_one_quantity_share_the_goal_that_the_sweep_gives_it(metric, maximize):
    of_score = SweepPlan([{"optimizer.lr": 0.1}, {"optimizer.lr": 1.0}], 1, "val_score", maximize=True)
    states = [RunState(status=Status.TARGET_REACHED, summary={metric: 1.0, "val_score": 2.0})] * 2
    found, _ = ranked_by(of_score, Results(states), metric)
    assert (found.metric, found.maximize) == (metric, maximize)


def test_steps_to_the_target_are_drawn_of_runs_that_reach_it():
    states = [
        RunState(status=Status.TARGET_REACHED, steps=30, summary={"final_loss": 1.0}),
        ended(2.0),
    ]
    found = sensitivity(*ranked_by(over_lr([0.1, 1.0]), Results(states), "steps_to_target"))
    assert found.lines[0].median[0] == 30.0
    assert np.isnan(found.lines[0].median[1])
    with pytest.raises(ConfigError, match="no metric 'steps_to_target': there are final_loss"):
        ranked_by(over_lr([0.1, 1.0]), Results([ended(2.0)] * 2), "steps_to_target")


def test_what_is_far_worse_is_out_of_sight_and_the_better_half_never():
    values = [1e-3, 1e-2, 0.1, 1.0, 2.0, 1e30]
    states = [ended(value) for value in values]
    found = sensitivity(over_lr([1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0]), states)
    assert visible_range(found, log=True) == (1e-3, 2.0)
    assert visible_range(found, log=False) == (1e-3, 2.0)
    gains = [1 / value for value in values]
    best_up = plan([{"optimizer.lr": 10.0**power} for power in range(6)], maximize=True)
    assert visible_range(sensitivity(best_up, [ended(gain) for gain in gains]), log=True) == (0.5, 1000.0)
    even = sensitivity(over_lr([1.0, 2.0, 3.0]), [ended(0.5), ended(0.2), ended(0.9)])
    assert visible_range(even, log=False) == (0.2, 0.9)
    none = sensitivity(over_lr([1.0, 2.0]), [GONE, GONE])
    assert visible_range(none, log=True) == (0.0, 0.0)
    assert heading(none) == "one seed, none finite"


CASES = {
    "one line": (over_lr([0.1, 1.0, 10.0], 2), [ended(1.0), ended(2.0), ended(0.5), GONE, GONE, GONE]),
    "nothing finite": (over_lr([0.1, 1.0]), [GONE, GONE]),
    "one value": (plan([{"optimizer.lr": 1.0, "steps": n} for n in (1, 2)]), [ended(0.0), ended(0.0)]),
    "many": (
        plan([{"problem": f"$p{i}_", "optimizer.lr": lr} for i in range(12) for lr in (0.1, 1.0)]),
        [ended(float(i)) for i in range(24)],
    ),
    "long labels": (
        plan(
            [{"problem": 9 * f"{i} a long name", "optimizer.lr": lr} for i in range(6) for lr in (0.1, 1.0)]
        ),
        [ended(float(i)) for i in range(12)],
    ),
    "pruned": (
        over_lr([0.1, 1.0, 10.0], 2),
        [stopped(1.0), stopped(2.0), ended(0.5), ended(0.4), stopped(7.0), GONE],
    ),
    "not ended": (over_lr([0.1, 1.0]), [ended(1.0), RunState(status=Status.RUNNING)]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("format", ["png", "svg"])
def test_every_sensitivity_is_drawn_to_the_same_bytes(case, format):
    pytest.importorskip("matplotlib")
    found = sensitivity(*CASES[case])
    pictures = []
    for _ in range(2):
        stream = BytesIO()
        save(sensitivity_figure(found, name="a sweep"), stream, format)
        pictures.append(stream.getvalue())
    assert pictures[0] == pictures[1]
    if format == "svg":
        svg = pictures[0].decode()
        assert found.parameter in svg
        for why, words in NO_VALUE.items():
            assert (words in svg) is any(why in line.without_value for line in found.lines)
        assert ("pruned (stopped earlier)" in svg) is (case == "pruned")
        assert ("5 others" in svg) is (case == "many")


def test_runs_without_a_value_are_told_apart():
    pytest.importorskip("matplotlib")
    made = replace(over_lr([0.1, 1.0, 10.0, 100.0]), metric="steps_to_target")
    missed = RunState(status=Status.COMPLETED, steps=9, summary={"final_loss": 1.0, "steps_to_target": None})
    reached = replace(missed, status=Status.TARGET_REACHED, summary={"final_loss": 1.0, "steps_to_target": 5})
    failed = RunState(status=Status.FAILED)
    found = sensitivity(made, [reached, missed, replace(GONE, summary=missed.summary), failed])
    assert {why: shares.tolist() for why, shares in found.lines[0].without_value.items()} == {
        "diverged": [0, 0, 1, 0],
        "failed": [0, 0, 0, 1],
        "missed": [0, 1, 0, 0],
    }
    (axes,) = sensitivity_figure(found, name="a sweep").axes
    drawn = axes.get_legend_handles_labels()[1][1:]
    assert drawn == ["diverged", "failed", "missed the target"]


def test_what_leaves_the_frame_has_a_mark_and_a_word():
    pytest.importorskip("matplotlib")
    found = sensitivity(over_lr([0.1, 1.0, 10.0, 100.0]), [ended(each) for each in (0.0, 1.0, 1.1, 1e9)])
    (axes,) = sensitivity_figure(found, name="a sweep", log=True).axes
    assert axes.get_legend_handles_labels()[1][1:] == ["far worse, above the plot", NOT_POSITIVE]
    marks = {
        line.get_marker(): line.get_xdata().tolist()
        for line in axes.lines
        if line.get_transform() == axes.get_xaxis_transform()
    }
    assert marks == {"^": [100.0], "v": [0.1]}


def test_a_sweep_tells_its_sensitivity():
    sweep = optrun.sweep(
        {
            "problem": "quadratic",
            "optimizer": {"name": "SGD"},
            "steps": 20,
            "sweep": {"parameters": {"optimizer.lr": {"logspace": [1e-3, 1e-2, 4]}}, "repeats": 3},
        },
        save=False,
    )
    (line,) = sweep.sensitivity().lines
    losses = np.array([run.summary["final_loss"] for run in sweep.runs]).reshape(4, 3)
    assert line.median.tolist() == np.median(losses, axis=1).tolist()
    assert line.x.tolist() == [each.optimizer.options["lr"] for each in sweep.configs[::3]]


def test_an_integer_that_is_no_float_is_no_number_to_plot_over():
    assert numeric_parameters(plan([{"problem.k": 1}, {"problem.k": 10**400}])) == []


def test_a_picture_says_what_lies_beyond_it_and_has_ticks_that_differ():
    pytest.importorskip("matplotlib")
    lowest = -1.031628453
    states = [ended(3.0), *(ended(lowest + gap) for gap in (4e-7, 2e-7, 0.0, 1e-7)), ended(2.0)]
    found = sensitivity(over_lr(np.geomspace(1e-4, 1, 6).tolist()), states)
    stream = BytesIO()
    save(sensitivity_figure(found, name="camel"), stream, "svg")
    svg = stream.getvalue().decode()
    assert "far worse, above the plot" in svg
    assert "1e" not in "".join(re.findall(r"<!-- ([^>]*) -->", svg))  # no offset beside the axis
    ticks = [lowest + gap for gap in (0, 1e-7, 2e-7)]
    assert len(set(labels(ticks))) == 3


def test_a_number_that_is_off_in_a_setting_is_left_out_of_the_picture():
    settings = [{"optimizer.weight_decay": value} for value in (None, 0.1, 0.2)]
    found = sensitivity(plan(settings), [ended(1.0), ended(2.0), ended(3.0)], "optimizer.weight_decay")
    assert (found.lines[0].x.tolist(), found.left_out) == ([0.1, 0.2], 1)
