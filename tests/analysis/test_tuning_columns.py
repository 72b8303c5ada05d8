"""What tuning brings and costs: defaults, the sensitivity to the learning rate, steps to the baseline's best."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from optrun.analysis.at_defaults import has_defaults
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.compare import comparison_of
from optrun.analysis.leaderboard import SweepPlan
from optrun.store import RunRecord, Status


@dataclass
class Ran:
    """The curves of a run."""

    curves: dict = field(default_factory=dict)
    evaluations: dict = field(default_factory=dict)


ENDED = {False: Status.COMPLETED, True: Status.DIVERGED}


def swept(settings, *, metric="train_loss", curves=(), method="grid", problem="a", pruned=()):
    """Return a sweep of settings, each a mapping of optimizer options, with values, None for a run that diverged.

    ``pruned`` are the indices of those that were pruned.
    """
    runs = [
        RunRecord(
            run=0,
            seed=seed,
            config={"problem": {"name": problem}, "optimizer": dict(options), "steps": 100},
            status=Status.PRUNED if index in pruned else ENDED[value is None],
            summary={metric: value},
        )
        for index, (options, values) in enumerate(settings)
        for seed, value in enumerate(values)
    ]
    runs = [replace(run, run=number) for number, run in enumerate(runs)]
    paths = [{f"optimizer.{name}": value for name, value in options.items()} for options, _ in settings]
    plan = SweepPlan(paths, len(settings[0][1]), metric, metric.endswith("accuracy"), method=method)
    return ComparedSweep("x", plan, runs, None, curves)


def began_at(*losses):
    """Return as many runs as there are losses before their first steps."""
    return [Ran({"step": np.array([0, 1]), "loss": np.array([loss, 0.0])}) for loss in losses]


def row_of(source, value="Adam"):
    (table,) = comparison_of([source]).problems
    (row,) = (row for row in table.rows if row.value == value)
    return row


OTHER = ({"name": "B", "lr": 0.5}, [9.0, 9.0])


def test_the_figure_at_the_defaults_is_that_of_the_setting_which_has_them():
    settings = [
        ({"name": "Adam", "lr": 0.1}, [1.0, 2.0]),
        ({"name": "Adam", "lr": 0.001, "beta1": 0.5}, [2.0, 2.0]),
        ({"name": "Adam", "lr": 0.001, "beta1": 0.9}, [3.0, 5.0]),
        ({"name": "SGD", "lr": 0.01}, [7.0, 7.0]),
    ]
    assert row_of(swept(settings)).at_defaults == 4.0
    assert row_of(swept(settings), "SGD").at_defaults is None
    source = swept(settings)
    confirmed = replace(source, confirmed=swept([(settings[0][0], [6.0, 6.0]), (settings[3][0], [8.0, 8.0])]))
    assert (row_of(confirmed).median, row_of(confirmed).at_defaults) == (6.0, 4.0)
    diverged = [*settings[:2], (settings[2][0], [None, None]), settings[3]]
    assert row_of(swept(diverged)).at_defaults is None
    assert row_of(swept(settings, pruned=[2])).at_defaults is None


@pytest.mark.parametrize(
    ("block", "more", "is_default"),
    [
        ({"name": "AdamW", "lr": 0.001, "weight_decay": 0.01}, {}, True),
        ({"name": "AdamW", "lr": 0.0010000000000000002}, {}, True),
        ({"name": "Adam", "lr": 0.001, "weight_decay": 0.01}, {}, False),
        ({"name": "SGD", "lr": 0.001, "nesterov": True}, {}, False),
        ({"name": "SGD", "lr": 0.001, "param_groups": [{"params": "x", "lr": 1.0}]}, {}, False),
        ({"name": "SGD", "lr": 0.001}, {"schedules": {"momentum": {"name": "ConstantLR"}}}, False),
        ({"name": "SGD", "lr": 0.001}, {"scheduler": {"name": "ConstantLR"}}, True),
        ({"name": "Unheard"}, {}, False),
    ],
)
def test_defaults_are_those_of_the_class(block, more, is_default):
    assert has_defaults({"optimizer": block, **more}) is is_default


RATES = [({"name": "Adam", "lr": lr}, values) for lr, values in (
    (1e-3, [1.0, 1.0]), (1e-2, [0.4, 0.6]), (1e-1, [9.0, 9.0]), (1.0, [None, None])
)]  # fmt: skip


def test_the_sensitivity_is_the_mean_distance_to_the_best_rate_in_parts_of_what_is_learned():
    # Against an initial loss of 1.5: (1 - 0.5, 0, 1.5 - 0.5, 1.5 - 0.5) / (1.5 - 0.5)
    source = swept([*RATES, OTHER], curves=began_at(*[1.0, 2.0] * 5))
    assert row_of(source).lr_sensitivity == pytest.approx((0.5 + 0 + 1 + 1) / 4)
    assert row_of(source, "B").lr_sensitivity is None  # one rate


def test_the_best_of_a_rate_counts_and_drawn_rates_are_binned():
    grid = [
        ({**options, "beta1": beta}, [values[0], values[1]])
        for options, values in RATES
        for beta in (0.5, 0.9)
    ]
    grid[0] = (grid[0][0], [7.0, 7.0])  # the other momentum is better
    assert row_of(swept([*grid, OTHER], curves=began_at(*[1.5] * 18))).lr_sensitivity == pytest.approx(0.625)
    drawn = [
        ({"name": "Adam", "lr": lr, "beta1": lr / 10}, [loss, loss])
        for lr, loss in (
            (1.1e-3, 1.0),
            (1.2e-3, 3.0),
            (1.1e-2, 0.5),
            (1.2e-2, 0.7),
            (1.1e-1, 9.0),
            (0.9, 9.0),
        )
    ]
    source = swept([*drawn, OTHER], curves=began_at(*[1.5] * 14), method="random")
    assert row_of(source).lr_sensitivity == pytest.approx(0.625)
    # A setting that was added, or crossed with another part, at a rate that was drawn changes nothing.
    more = [*drawn, ({"name": "Adam", "lr": 1.1e-3, "beta1": 0.9}, [1.4, 1.4])]
    source = swept([*more, OTHER], curves=began_at(*[1.5] * 16), method="random")
    assert row_of(source).lr_sensitivity == pytest.approx(0.625)


def test_rates_that_were_drawn_alone_are_not_binned():
    rates = [({"name": "Adam", "lr": lr}, [loss, loss]) for lr, loss in ((1.1, 0.5), (1.2, 1.0), (1.3, 1.5))]
    source = swept([*rates, OTHER], curves=began_at(*[1.5] * 8), method="random")
    assert row_of(source).lr_sensitivity == pytest.approx((0 + 0.5 + 1) / 3)


@pytest.mark.parametrize(
    "source",
    [
        swept([*RATES, OTHER]),
        swept([*RATES[:2], OTHER], curves=began_at(*[1.5] * 6)),
        swept([*RATES, OTHER], curves=began_at(*[0.3] * 10)),
        swept([*RATES, OTHER], curves=began_at(*[1.5] * 10), metric="test_accuracy"),
        swept([*RATES, OTHER], curves=began_at(*[1.5] * 10), metric="val_log_loss"),
        swept([*RATES, OTHER], curves=began_at(*[1.5] * 10), pruned=[2]),
    ],
    ids=["without curves", "two rates", "nothing is learned", "no loss", "another loss", "a pruned setting"],
)
def test_where_nothing_can_be_said_there_is_no_sensitivity(source):
    assert row_of(source).lr_sensitivity is None


def test_the_ranking_has_the_mean_sensitivity_where_all_problems_have_one():
    curves = began_at(*[1.5] * 10)
    both = [swept([*RATES, OTHER], curves=curves, problem=name) for name in "ab"]
    ranks = {rank.value: rank for rank in comparison_of(both, by="optimizer.name").ranking}
    assert ranks["Adam"].lr_sensitivity == pytest.approx(0.625)
    assert ranks["B"].lr_sensitivity is None
    both[1] = replace(both[1], curves=())
    ranks = {rank.value: rank for rank in comparison_of(both, by="optimizer.name").ranking}
    assert ranks["Adam"].lr_sensitivity is None


def evaluated(*losses):
    return Ran({}, {"step": np.arange(10, 10 * len(losses) + 1, 10), "train_loss": np.array(losses)})


SLOW = [2.0 - 0.1 * step for step in range(15)]  # 0.6 at step 150
FAST = [2.0 - 0.2 * step for step in range(8)] + [0.4] * 7  # 0.6 at step 80


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        (FAST, (80, 150 / 80)),
        ([0.7] * 15, (None, None)),
        (FAST[:9], (80, 150 / 80)),
    ],
    ids=["sooner", "never", "shorter"],
)
def test_the_speed_up_is_a_ratio_of_steps_to_the_best_of_the_baseline(curves, expected):
    ran = [
        evaluated(*SLOW),
        evaluated(*SLOW),
        evaluated(*SLOW),
        *[evaluated(*curves)] * 2,
        evaluated(*[5.0] * 15),
    ]
    settings = [({"name": "Adam", "lr": 0.1}, [0.6] * 3), ({"name": "B", "lr": 0.1}, [0.4, 0.4, 5.0])]
    found = row_of(swept(settings, curves=ran), "B").speedup
    assert found.target == pytest.approx(0.6)
    assert found.baseline_steps == 150
    assert (found.steps, found.ratio) == pytest.approx(expected)
    assert row_of(swept(settings, curves=ran)).speedup is None  # the baseline
    few = [replace(each, evaluations={key: of[:9] for key, of in each.evaluations.items()}) for each in ran]
    assert row_of(swept(settings, curves=few), "B").speedup is None
    gone = [settings[0], (settings[1][0], [0.4, 0.4, None])]
    assert row_of(swept(gone, curves=ran), "B").speedup is None


def two_curves(baseline, own, *, ends=("completed",) * 2, metric="train_loss", kept=None):
    """Return the speed-up of B, the second seeds of which have curves and ends of their own."""
    settings = [({"name": name, "lr": 0.1}, [0.4] * 2) for name in ("Adam", "B")]
    source = swept(settings, metric=metric, curves=[evaluated(*each) for each in (*baseline, *own)])
    runs = [*source.runs[:2]]
    for run, end in zip(source.runs[2:], ends, strict=True):
        summary = {**run.summary} if kept is None else {**run.summary, "train_loss": kept}
        runs.append(replace(run, status=Status(end), summary=summary))
    return row_of(replace(source, runs=runs), "B").speedup


def test_a_seed_that_stopped_early_keeps_its_value_while_others_go_on():
    # The median of B is (0.4 + 0.8) / 2 at step 120; up to step 40, where its first seed ends, it is above 0.6.
    ends = ("early_stopped", "completed")
    found = two_curves(
        [SLOW] * 2, ([1.0, 0.8, 0.6, 0.4], [1.9 - 0.1 * at for at in range(15)]), ends=ends, kept=0.4
    )
    assert (found.steps, found.ratio) == (120, 150 / 120)
    # The baseline, too, is at its best after the end of its first seed.
    stopped = two_curves(([1.0, 0.8, 0.6, 0.4], SLOW), [FAST] * 2)
    assert (stopped.baseline_steps, stopped.target) == (150, pytest.approx(0.5))


def test_a_seed_that_was_restored_goes_on_with_its_best():
    curves = ([1.0, 0.4, 0.9], [1.9 - 0.1 * at for at in range(15)])
    ends = ("early_stopped", "completed")
    assert two_curves([SLOW] * 2, curves, ends=ends, kept=0.9).steps is None
    assert two_curves([SLOW] * 2, curves, ends=ends, kept=0.4).steps == 120


@pytest.mark.parametrize("status", [each for each in Status if each not in ("completed", "early_stopped")])
def test_curves_that_were_cut_off_have_no_speed_up(status):
    assert two_curves([SLOW] * 2, [FAST] * 2).ratio == 150 / 80
    assert two_curves([SLOW] * 2, [FAST] * 2, ends=("completed", status)) is None


@pytest.mark.parametrize("metric", ["best_train_loss", "train_loss_at_best_val_loss", "last_5_train_loss"])
def test_the_speed_up_of_a_figure_is_that_of_its_series(metric):
    assert two_curves([SLOW] * 2, [FAST] * 2, metric=metric).ratio == 150 / 80
